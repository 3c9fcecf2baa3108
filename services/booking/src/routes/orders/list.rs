//! `GET /api/booking/orders`: a customer's orders, newest first.
//!
//! Two plain reads, read committed: the page's ids by index, then the orders as they stand. No
//! order leaves its place between the two, since an order's id never changes.

use axum::extract::State;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::cursor;
use crate::orders::{self, Order};
use crate::routes::answers;

/// Which page.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Most orders on the page; 20 where nothing is asked.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of orders.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Orders {
    /// The orders, newest first.
    pub items: Vec<Order>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// List your orders, newest first.
///
/// Page by page: `next_cursor` of one page is the `cursor` of the next.
#[utoipa::path(
    get,
    path = "/api/booking/orders",
    operation_id = "list_orders",
    tag = "orders",
    params(Page),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "A page of orders", body = Orders),
        (status = 422, description = "invalid-request", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<App>,
    account: Account,
    Query(page): Query<Page>,
) -> Result<Json<Orders>, Problem> {
    let limit = cursor::limit(page.limit, 20, 100)?;
    let before = match &page.cursor {
        Some(text) => Uuid::from_bytes(cursor::decode(text)?),
        None => Uuid::max(),
    };
    let mut connection = app.pool.acquire().await?;
    let mut ids = sqlx::query_scalar!(
        "SELECT id FROM orders WHERE customer_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        account.id,
        before,
        limit + 1
    )
    .fetch_all(&mut *connection)
    .await?;
    let next_cursor = cursor::page(&mut ids, limit, |id| id.into_bytes());
    let items = orders::read(&mut connection, account.id, &ids).await?;
    Ok(Json(Orders { items, next_cursor }))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::Orders;
    use crate::fixture::{Fixture, who};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn pages_hold_each_order_once_newest_first_and_nobody_elses(pool: PgPool) {
        let house = Fixture::with_seats(pool, 2, 5).await;
        let (ann, bob) = (who("customer"), who("customer"));
        let mut placed = Vec::new();
        for _ in 0..5 {
            placed.push(house.order(&ann, 1).await.id);
            house.order(&bob, 1).await;
        }
        placed.reverse();

        let mut seen = Vec::new();
        let mut path = "/api/booking/orders?limit=2".to_owned();
        loop {
            let page: Orders = house.get(&ann, &path).await.expect(200);
            seen.extend(page.items.iter().map(|order| order.id));
            let Some(next) = page.next_cursor else { break };
            path = format!("/api/booking/orders?limit=2&cursor={next}");
        }
        assert_eq!(seen, placed);
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_bad_page_is_refused_and_named(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        for (query, field) in [
            ("cursor=x", "cursor"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("page=2", "page"),
        ] {
            let answer = house
                .get(&ann, &format!("/api/booking/orders?{query}"))
                .await;
            assert_eq!(answer.status, 422, "{query}");
            assert_eq!(answer.problem().1.as_deref(), Some(field), "{query}");
        }
    }
}
