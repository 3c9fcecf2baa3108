//! `GET /api/catalog/events/{id}`: anybody reads an event that is on sale.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use problem::Problem;
use problem::extract::Path;
use problem::openapi::{Answers, DOOR};
use uuid::Uuid;

use crate::Catalog;
use crate::event::Event;

/// Read an event.
///
/// One that is on sale. Never older than the question. The account that payouts go to is left out.
#[utoipa::path(
    get,
    path = "/api/catalog/events/{id}",
    operation_id = "read_event",
    tag = "events",
    params(
        ("id" = Uuid, Path, description = "The `id` of an event of `list_events`"),
        ("If-None-Match" = Option<String>, Header, description = "ETags of versions that the client has"),
    ),
    responses(
        Answers<{ DOOR }>,
        (status = 200, description = "the event", body = Event, headers(("ETag" = String, description = "the version"))),
        (status = 304, description = "the version that If-None-Match names"),
        (status = 404, description = "not-found: no such event is on sale", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read_event(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let document = catalog.reads.event(&catalog.events, id).await?;
    let document = document.ok_or_else(|| Problem::not_found("no such event on sale"))?;
    catalog.popularity.viewed(id);
    Ok(super::document(&headers, document.version, document.json))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::trial::{self, As, Trial, request};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn drafts_and_accounts_are_not_for_everybody() {
        let trial = Trial::begin().await;
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        let path = format!("/api/catalog/events/{id}");
        assert_eq!(trial.get(&path, As::Nobody).await.0, 404);
        trial.put_on_sale(id).await;
        let (status, event) = trial.get(&path, As::Nobody).await;
        assert_eq!(
            status, 200,
            "that it was missing is not remembered over the change"
        );
        assert_eq!(
            (&event["state"], event.get("payout_account")),
            (&"on_sale".into(), None)
        );
        assert_eq!(event["sections"][1]["name"], "Balcony");
        assert_eq!(
            trial.get("/api/catalog/events/no-id", As::Nobody).await.0,
            404
        );
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_hit_is_the_same_as_a_miss_and_a_known_version_is_not_sent() {
        let trial = Trial::begin().await;
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        trial.put_on_sale(id).await;
        let path = format!("/api/catalog/events/{id}");
        let get = || request("GET", &path, As::Nobody);
        let miss = trial.ask(get().body(Body::empty()).unwrap()).await;
        let hit = trial.ask(get().body(Body::empty()).unwrap()).await;
        assert_eq!(miss, hit);
        let tag = hit.1["etag"].clone();
        assert_eq!(tag, "\"2\"");
        let known = trial
            .ask(
                get()
                    .header("if-none-match", tag)
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!((known.0.as_u16(), known.2.as_str()), (304, ""));
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn without_a_cache_reads_go_on() {
        let trial = Trial::with("127.0.0.1:1", "127.0.0.1:1").await;
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        trial.put_on_sale(id).await;
        let (status, event) = trial
            .get(&format!("/api/catalog/events/{id}"), As::Nobody)
            .await;
        assert_eq!(
            (status.as_u16(), &event["title"]),
            (200, &"An evening of fado".into())
        );
        assert_eq!(trial.get("/api/catalog/popular", As::Nobody).await.0, 503);
    }
}
