//! `PUT /api/catalog/events/{id}`: an organiser changes an event.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::Utc;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use problem::openapi::{Answers, BODY, DOOR, SESSION};
use uuid::Uuid;

use crate::etag::IfMatch;
use crate::event::{Draft, Event};
use crate::{Catalog, etag, rules};

/// How often the change is tried where another one came in between and `If-Match` names its version
/// as well. All tries together take less than a request may.
const ATTEMPTS: u32 = 3;

/// Replace an event.
///
/// If it still has a version that `If-Match` names. A repetition of the change that came last gets the
/// same answer, so that it may be sent again when its answer was lost. Once publishing has begun,
/// seats, prices, currency, start and account stay as they are, and title and venue until it is done;
/// tickets keep the title and venue of that moment.
#[utoipa::path(
    put,
    path = "/api/catalog/events/{id}",
    operation_id = "replace_event",
    tag = "organisers",
    params(
        ("id" = Uuid, Path, description = "The `id` of an event of yours"),
        ("If-Match" = String, Header, description = "The ETag that was read, several with commas in between, or `*` for any version; RFC 9110, 13.1.1", example = "\"1\""),
    ),
    request_body(content = Draft, example = Draft::example),
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION | BODY }>,
        (status = 200, description = "the new version", body = Event, headers(("ETag" = String, description = "the version"))),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "not-found: no such event of yours", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "event-on-sale: a field is fixed; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
        (status = 412, description = "version-mismatch: it was changed before", body = problem::Body, content_type = "application/problem+json"),
        (status = 422, description = "invalid-request: a field breaks a rule", body = problem::Body, content_type = "application/problem+json"),
        (status = 428, description = "if-match-missing", body = problem::Body, content_type = "application/problem+json"),
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
    for _ in 0..ATTEMPTS {
        let mut event = catalog.events.own(account.id, id).await?;
        let draft = rules::spell(draft.clone(), event.is_fixed.then_some(&event));
        if !versions.names(event.version) {
            let answer = made_already(&event, &versions, draft)?;
            catalog.reads.forget(id).await?;
            return Ok(answer);
        }
        if event.is_fixed {
            rules::check_fixed(&event, &draft)?;
            // Its start may be near or past by now, which is no fault of this change.
            rules::check(
                &draft,
                Some(&event),
                Utc::now().min(event.starts_at - chrono::TimeDelta::seconds(1)),
            )?;
        } else {
            rules::check(&draft, None, Utc::now())?;
        }
        event.replace(draft);
        let replaced = catalog
            .reads
            .changing(id, catalog.events.replace(&event))
            .await?;
        if replaced {
            return super::own(&HeaderMap::new(), &event);
        }
        // Another change came in between. What If-Match names is judged anew.
    }
    Err(Problem::busy("others change this event at the same time"))
}

/// The answer to a change that names another version: 412, but where the event is what this very
/// change made of the version before, as RFC 9110 (13.1.1) has it. Whoever hands a `PUT` on may do
/// so twice, and the first one may have taken effect: Nginx where a replica broke off, DynamoDB's
/// client where an answer was late.
fn made_already(event: &Event, versions: &IfMatch, draft: Draft) -> Result<Response, Problem> {
    let before = event.version.saturating_sub(1);
    let mut made = Event {
        version: before,
        ..event.clone()
    };
    made.replace(draft);
    if versions.names(before) && made == *event {
        super::own(&HeaderMap::new(), event)
    } else {
        Err(etag::mismatch())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use service::http::REQUEST_TIMEOUT;

    use super::*;
    use crate::table::OPERATION_TIMEOUT;
    use crate::trial::{self, As, Trial};

    #[test]
    fn its_tries_take_less_than_the_request_may() {
        // Each reads and writes the document, and meets the cache before it writes and after it.
        let each = 2 * OPERATION_TIMEOUT + 2 * cache::OPERATION_TIMEOUT;
        assert!(ATTEMPTS * each < REQUEST_TIMEOUT, "{each:?}");
    }

    fn path(id: Uuid) -> String {
        format!("/api/catalog/events/{id}")
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
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
        draft.title = "Changed by another".to_owned();
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
    #[ignore = "needs the stores: make test"]
    async fn if_match_may_name_several_versions_or_any() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        for (versions, status) in [
            ("\"1\", \"7\"", 200),
            ("\"of another server\", \"2\"", 422),
            ("\"another\", \"2\"", 200),
            ("*", 200),
            ("W/\"4\"", 412),
            ("\"1\", \"2\"", 412),
        ] {
            draft.title = format!("Changed with {status}, {versions}");
            let headers = [("if-match", versions)];
            let (answered, event) = trial.send("PUT", &path(id), who, &headers, &draft).await;
            assert_eq!(answered, status, "{versions}: {event}");
        }
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        assert_eq!(event.title, "Changed with 200, *");
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_change_of_any_version_gives_way_to_none() {
        let trial = Arc::new(Trial::begin().await);
        let who = As::Organiser(Uuid::now_v7());
        let draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        let writers = (0..4).map(|number| {
            let (trial, mut draft) = (trial.clone(), draft.clone());
            draft.title = format!("Changed by {number}");
            let headers = [("if-match", "*")];
            tokio::spawn(async move { trial.send("PUT", &path(id), who, &headers, &draft).await.0 })
        });
        let mut made = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap().as_u16() {
                200 => made += 1,
                // Several others came before each of its tries.
                status => assert_eq!(status, 409),
            }
        }
        let event = trial.catalog.events.get(id).await.unwrap().unwrap();
        assert!(made > 0);
        // One more where an answer was late and the request sent again.
        assert!(event.version > made, "{} after {made}", event.version);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_change_whose_answer_was_lost_may_be_sent_again() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft(&trial::city());
        let id = trial.create(who, &draft).await;
        draft.title = "Changed".to_owned();
        let put = async |version, draft: &Draft| {
            let headers = [("if-match", version)];
            trial.send("PUT", &path(id), who, &headers, draft).await
        };
        let first = put("\"1\"", &draft).await;
        assert_eq!((first.0, &first.1["version"]), (StatusCode::OK, &2.into()));
        assert_eq!(put("\"1\"", &draft).await, first, "made once");
        let next = Draft {
            title: "Changed again".to_owned(),
            ..draft.clone()
        };
        assert_eq!(put("\"2\"", &next).await.0, StatusCode::OK);
        let status = put("\"1\"", &draft).await.0;
        assert_eq!(
            status,
            StatusCode::PRECONDITION_FAILED,
            "another came after"
        );
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
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
    #[ignore = "needs the stores: make test"]
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
