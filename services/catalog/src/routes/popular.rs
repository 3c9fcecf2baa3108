//! `GET /api/catalog/popular`: the events that are looked at most.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use problem::Problem;
use problem::extract::Query;
use problem::openapi::{Answers, DOOR};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Catalog;
use crate::event::{EventSummary, State as Stand};

/// As many as one look-up in the table answers.
const MOST_LOOKED_UP: usize = 100;

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Top {
    /// How many.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
}

/// Events by their views.
#[derive(Debug, Serialize, ToSchema)]
pub struct Popular {
    /// The events, most views first.
    items: Vec<Viewed>,
}

/// An event and its views.
#[derive(Debug, Serialize, ToSchema)]
pub struct Viewed {
    /// The event.
    event: EventSummary,
    /// How often it was read.
    views: u64,
}

/// List the events that are looked at most.
///
/// On sale and not yet begun; the count of views may be some seconds old.
#[utoipa::path(
    get,
    path = "/api/catalog/popular",
    operation_id = "list_popular_events",
    tag = "events",
    params(Top),
    responses(
        Answers<{ DOOR }>,
        (status = 200, description = "the events, most views first", body = Popular),
        (status = 422, description = "invalid-request: a parameter breaks a rule", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn popular(
    State(catalog): State<Arc<Catalog>>,
    Query(top): Query<Top>,
) -> Result<Response, Problem> {
    let limit = super::page_limit(top.limit, 10, 100)?;
    catalog
        .reads
        .popular(limit, async || load(&catalog, limit).await)
        .await
        .map(super::json)
}

async fn load(catalog: &Catalog, limit: u32) -> Result<Popular, Problem> {
    let top = catalog.popularity.top(MOST_LOOKED_UP).await?;
    let ids: Vec<_> = top.iter().map(|(id, _)| *id).collect();
    let now = Utc::now();
    let mut found: HashMap<_, _> = catalog
        .events
        .summaries(&ids)
        .await?
        .into_iter()
        .filter(|event| event.state == Stand::OnSale && event.starts_at >= now)
        .map(|event| (event.id, event))
        .collect();
    let over: Vec<_> = ids
        .into_iter()
        .filter(|id| !found.contains_key(id))
        .collect();
    catalog.popularity.forget(&over).await?;
    let items = top
        .into_iter()
        .filter_map(|(id, views)| {
            Some(Viewed {
                event: found.remove(&id)?,
                views,
            })
        })
        .take(limit as usize)
        .collect();
    Ok(Popular { items })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::trial::{self, As, Trial};

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn what_is_read_more_stands_higher_and_what_is_gone_is_forgotten() {
        let trial = Trial::begin().await;
        let who = As::Organiser(Uuid::now_v7());
        let (first, second) = (
            trial.create(who, &trial::draft("Faro")).await,
            trial.create(who, &trial::draft("Faro")).await,
        );
        let gone = Uuid::now_v7();
        for (id, views) in [(first, 3), (second, 1)] {
            trial.put_on_sale(id).await;
            for _ in 0..views {
                trial
                    .get(&format!("/api/catalog/events/{id}"), As::Nobody)
                    .await;
            }
        }
        trial.catalog.popularity.viewed(gone);
        // Ahead of whatever else was read on this Redis.
        for _ in 0..1_000_000 {
            for id in [first, second, gone] {
                trial.catalog.popularity.viewed(id);
            }
        }
        trial.catalog.popularity.flush().await.unwrap();
        let (status, page) = trial
            .get("/api/catalog/popular?limit=100", As::Nobody)
            .await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        let place = |id: Uuid| {
            items
                .iter()
                .position(|item| item["event"]["id"] == id.to_string())
        };
        assert!(place(first).unwrap() < place(second).unwrap());
        assert_eq!(items[place(first).unwrap()]["views"], 1_000_003);
        let top = trial.catalog.popularity.top(1000).await.unwrap();
        assert!(top.iter().all(|(id, _)| *id != gone));
        trial
            .catalog
            .popularity
            .forget(&[first, second])
            .await
            .unwrap();
    }
}
