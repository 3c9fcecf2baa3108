//! `GET /api/catalog/events/{id}/seat-map`: the seats as a drawing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use problem::Problem;
use problem::extract::Path;
use problem::openapi::{Answers, DOOR};
use uuid::Uuid;

use crate::Catalog;

/// Read the seat map of an event.
///
/// The seats of an event that is on sale, drawn as SVG.
#[utoipa::path(
    get,
    path = "/api/catalog/events/{id}/seat-map",
    operation_id = "read_seat_map",
    tag = "events",
    params(("id" = Uuid, Path, description = "The `id` of an event of `list_events`")),
    responses(
        Answers<{ DOOR }>,
        (status = 200, description = "the drawing", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "not-found: no such event is on sale", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn seat_map(
    State(catalog): State<Arc<Catalog>>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, Problem> {
    let drawing = catalog.reads.seat_map(&catalog.events, id).await?;
    let drawing = drawing.ok_or_else(|| Problem::not_found("no such event on sale"))?;
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, drawing))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::trial::{self, As, Trial, request};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn the_drawing_changes_with_the_event() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let mut draft = trial::draft("Faro");
        let id = trial.create(who, &draft).await;
        trial.put_on_sale(id).await;
        let path = format!("/api/catalog/events/{id}/seat-map");
        let get = || {
            trial.ask(
                request("GET", &path, As::Nobody)
                    .body(Body::empty())
                    .unwrap(),
            )
        };
        let (status, headers, svg) = get().await;
        assert_eq!(
            (status.as_u16(), &headers["content-type"]),
            (200, &"image/svg+xml".parse().unwrap())
        );
        assert!(svg.contains("Balcony: 4 rows of 20 seats, 25.00 EUR"));
        draft.title = "Corrected".to_owned();
        let change = format!("/api/catalog/events/{id}");
        let (status, _) = trial
            .send("PUT", &change, who, &[("if-match", "\"2\"")], &draft)
            .await;
        assert_eq!(status, 200);
        assert!(get().await.2.contains("Seats of Corrected"));
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn drafts_have_none() {
        let trial = Trial::begin().await;
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        let path = format!("/api/catalog/events/{id}/seat-map");
        assert_eq!(trial.get(&path, As::Nobody).await.0, 404);
    }
}
