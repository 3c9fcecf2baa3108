//! `GET /api/catalog/my-events/{id}`: an organiser reads an event of his own, past any cache.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use messages::account::Account;
use problem::Problem;
use problem::extract::Path;
use problem::openapi::{Answers, DOOR, SESSION};
use uuid::Uuid;

use crate::Catalog;
use crate::event::Event;

/// Read an event of your own.
///
/// As its organiser sees it, draft or not, with the account that payouts go to. A strong read of the
/// document: what was written before is there.
#[utoipa::path(
    get,
    path = "/api/catalog/my-events/{id}",
    operation_id = "read_my_event",
    tag = "organisers",
    params(
        ("id" = Uuid, Path, description = "The `id` of an event of yours"),
        ("If-None-Match" = Option<String>, Header, description = "ETags of versions that the client has"),
    ),
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION }>,
        (status = 200, description = "the event", body = Event, headers(("ETag" = String, description = "the version, for If-Match"))),
        (status = 304, description = "the version that If-None-Match names"),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "not-found: no such event of yours", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn my_event(
    State(catalog): State<Arc<Catalog>>,
    account: Account,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account = account.organiser()?;
    let event = catalog.events.own(account.id, id).await?;
    super::own(&headers, &event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{self, As, Trial};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn only_its_organiser_reads_a_draft_with_its_account() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let id = trial.create(who, &trial::draft("Faro")).await;
        let path = format!("/api/catalog/my-events/{id}");
        let (status, event) = trial.get(&path, who).await;
        assert_eq!(
            (status.as_u16(), &event["payout_account"]),
            (200, &"4242424242424242".into())
        );
        assert_eq!(trial.get(&path, As::Organiser(Uuid::now_v7())).await.0, 404);
        assert_eq!(trial.get(&path, As::Customer(Uuid::now_v7())).await.0, 403);
        assert_eq!(trial.get(&path, As::Nobody).await.0, 401);
    }
}
