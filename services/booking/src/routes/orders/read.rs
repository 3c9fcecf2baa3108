//! `GET /api/booking/orders/{id}`.
//!
//! A plain read of one statement, read committed.

use axum::extract::State;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use uuid::Uuid;

use crate::app::App;
use crate::orders::{self, Order};
use crate::routes::answers;

/// Read an order.
///
/// One of your own: its seats, its price, and how its payment goes.
#[utoipa::path(
    get,
    path = "/api/booking/orders/{id}",
    operation_id = "read_order",
    tag = "orders",
    params(("id" = Uuid, Path, description = "The `id` of an order of yours")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "The order", body = Order),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<Json<Order>, Problem> {
    let mut connection = app.pool.acquire().await?;
    orders::read_one(&mut connection, account.id, id)
        .await
        .map(Json)
}
