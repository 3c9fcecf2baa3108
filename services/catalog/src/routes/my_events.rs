//! `GET /api/catalog/my-events`: an organiser's own events, drafts included.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use messages::account::Account;
use problem::Problem;
use problem::extract::Query;
use problem::openapi::{Answers, DOOR, SESSION};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::event::EventPage;
use crate::{Catalog, cursor};

/// Which page is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Entries of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List your own events, newest first.
///
/// Drafts included. Page by page: `next_cursor` of one page is the `cursor` of the next.
#[utoipa::path(
    get,
    path = "/api/catalog/my-events",
    operation_id = "list_my_events",
    tag = "organisers",
    params(Page),
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION }>,
        (status = 200, description = "a page", body = EventPage),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 422, description = "invalid-request: a parameter breaks a rule", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn my_events(
    State(catalog): State<Arc<Catalog>>,
    account: Account,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let account = account.organiser()?;
    let limit = super::page_limit(page.limit, 20, 100)?;
    let after = page.cursor.as_deref().map(cursor::read_id).transpose()?;
    let page = catalog
        .events
        .of_organiser(account.id, limit, after)
        .await?;
    super::bytes(&page).map(super::json)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::trial::{self, As, Trial};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn pages_are_complete_newest_first_and_nobody_elses() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut expected = Vec::new();
        for _ in 0..5 {
            expected.push(trial.create(who, &trial::draft("Faro")).await.to_string());
        }
        expected.reverse();
        let (mut found, mut path) = (Vec::new(), "/api/catalog/my-events?limit=2".to_owned());
        loop {
            let (status, page) = trial.get(&path, who).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().unwrap();
            found.extend(
                items
                    .iter()
                    .map(|event| event["id"].as_str().unwrap().to_owned()),
            );
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            path = format!("/api/catalog/my-events?limit=2&cursor={cursor}");
        }
        assert_eq!(found, expected);
        let stranger = As::Organiser(Uuid::now_v7());
        let (_, page) = trial.get("/api/catalog/my-events", stranger).await;
        assert_eq!(page["items"], serde_json::json!([]));
        let (status, problem) = trial.get("/api/catalog/my-events?cursor=x", who).await;
        assert_eq!(
            (status.as_u16(), &problem["field"]),
            (422, &"cursor".into())
        );
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn they_need_an_organisers_session() {
        let trial = Trial::begin().await;
        assert_eq!(trial.get("/api/catalog/my-events", As::Nobody).await.0, 401);
        assert_eq!(
            trial
                .get("/api/catalog/my-events", As::Customer(Uuid::now_v7()))
                .await
                .0,
            403
        );
    }
}
