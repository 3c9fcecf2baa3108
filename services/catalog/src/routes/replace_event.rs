//! `PUT /api/catalog/events/{id}`: an organiser changes an event.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::Utc;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use uuid::Uuid;

use crate::event::{Draft, Event};
use crate::{Catalog, etag, rules};

/// Replaces an event, if it still has the version that `If-Match` names. Once publishing has
/// begun, seats, prices, currency, start and account stay as they are, and title and venue until
/// it is done; tickets keep the title and venue of that moment.
#[utoipa::path(
    put,
    path = "/api/catalog/events/{id}",
    params(
        ("id" = Uuid, Path, description = "the event"),
        ("If-Match" = String, Header, description = "the ETag that was read"),
    ),
    request_body = Draft,
    security(("session" = [])),
    responses(
        (status = 200, description = "the new version", body = Event, headers(("ETag" = String, description = "the version"))),
        (status = 400, description = "the request cannot be read", body = problem::Body, content_type = "application/problem+json"),
        (status = 401, description = "no session", body = problem::Body, content_type = "application/problem+json"),
        (status = 403, description = "not an organiser", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "no such event of yours", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "the event is on sale and a field is fixed", body = problem::Body, content_type = "application/problem+json"),
        (status = 412, description = "somebody changed it before", body = problem::Body, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = problem::Body, content_type = "application/problem+json"),
        (status = 415, description = "the body is not JSON", body = problem::Body, content_type = "application/problem+json"),
        (status = 422, description = "a field breaks a rule", body = problem::Body, content_type = "application/problem+json"),
        (status = 428, description = "If-Match is missing", body = problem::Body, content_type = "application/problem+json"),
        (status = 503, description = "a part is away", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn replace_event(
    State(catalog): State<Arc<Catalog>>,
    account: Account,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let account = account.organiser()?;
    let versions = etag::if_match(&headers)?;
    let mut event = catalog.events.own(account.id, id).await?;
    if !versions.contains(&event.version) {
        return Err(etag::mismatch());
    }
    if event.is_fixed {
        rules::check_fixed(&event, &draft)?;
        // Its start may be near or past by now, which is no fault of this change.
        rules::check(
            &draft,
            Utc::now().min(event.starts_at - chrono::TimeDelta::seconds(1)),
        )?;
    } else {
        rules::check(&draft, Utc::now())?;
    }
    event.replace(draft);
    let replaced = catalog
        .reads
        .changing(id, catalog.events.replace(&event))
        .await?;
    if !replaced {
        return Err(etag::mismatch());
    }
    super::own(&HeaderMap::new(), &event)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::trial::{self, As, Trial};

    fn path(id: Uuid) -> String {
        format!("/api/catalog/events/{id}")
    }

    #[tokio::test]
    async fn a_change_needs_the_version_that_was_read() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        draft.title = "Changed".to_owned();
        assert_eq!(trial.send("PUT", &path(id), who, &[], &draft).await.0, 428);
        let (status, event) = trial
            .send("PUT", &path(id), who, &[("if-match", "\"1\"")], &draft)
            .await;
        assert_eq!(
            (status.as_u16(), &event["version"], &event["title"]),
            (200, &2.into(), &"Changed".into())
        );
        let (status, problem) = trial
            .send("PUT", &path(id), who, &[("if-match", "\"1\"")], &draft)
            .await;
        assert_eq!(
            (status.as_u16(), &problem["type"]),
            (412, &"/problems/version-mismatch".into())
        );
        let stranger = As::Organiser(Uuid::now_v7());
        assert_eq!(
            trial
                .send("PUT", &path(id), stranger, &[("if-match", "\"2\"")], &draft)
                .await
                .0,
            404
        );
    }

    #[tokio::test]
    async fn no_update_is_lost() {
        let trial = Arc::new(Trial::begin().await);
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        draft.description = String::new();
        let id = trial.create(who, &draft).await;
        // Each of eight writers adds its letter to what it read, until that succeeds.
        let writers = ('a'..='h').map(|letter| {
            let (trial, mut draft) = (trial.clone(), draft.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    let (_, event) = trial
                        .get(&format!("/api/catalog/my-events/{id}"), who)
                        .await;
                    draft.description =
                        format!("{}{letter}", event["description"].as_str().unwrap());
                    let version = format!("\"{}\"", event["version"]);
                    let headers = [("if-match", version.as_str())];
                    match trial.send("PUT", &path(id), who, &headers, &draft).await.0 {
                        StatusCode::OK => return,
                        status => assert_eq!(status, StatusCode::PRECONDITION_FAILED),
                    }
                }
                panic!("never succeeded");
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        let mut letters: Vec<_> = event.description.chars().collect();
        letters.sort_unstable();
        assert_eq!(letters.into_iter().collect::<String>(), "abcdefgh");
        assert_eq!(event.version, 9);
    }

    #[tokio::test]
    async fn what_is_on_sale_keeps_its_seats_and_is_read_anew_by_everybody() {
        let trial = Trial::begin().await;
        let other_replica = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        trial.put_on_sale(id).await;
        let (_, event) = other_replica.get(&path(id), As::Nobody).await;
        let version = format!("\"{}\"", event["version"]);
        let headers = [("if-match", version.as_str())];
        draft.sections[0].price_minor += 1;
        let (status, problem) = trial.send("PUT", &path(id), who, &headers, &draft).await;
        assert_eq!(
            (status.as_u16(), &problem["field"]),
            (409, &"sections".into())
        );
        draft.sections[0].price_minor -= 1;
        draft.title = "Corrected".to_owned();
        assert_eq!(
            trial.send("PUT", &path(id), who, &headers, &draft).await.0,
            200
        );
        let (_, event) = other_replica.get(&path(id), As::Nobody).await;
        assert_eq!(event["title"], "Corrected");
    }
}
