//! `GET /api/booking/orders/{id}/tickets`.
//!
//! A plain read of one statement, read committed.

use axum::extract::State;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::routes::answers;
use crate::seats::Seat;

/// What a ticket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum TicketState {
    /// It lets somebody in, once.
    Valid,
    /// It has let somebody in.
    Admitted,
    /// The order was cancelled.
    Cancelled,
}

/// A ticket.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Its serial.
    pub id: Uuid,
    /// The seat.
    pub seat: Seat,
    /// What it is good for.
    pub state: TicketState,
    /// What its QR code says; absent until it is rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where its PDF is; null until it is rendered, and once it is cancelled.
    pub pdf: Option<String>,
}

/// The tickets of an order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tickets {
    /// One for each seat; none before the order is paid.
    pub items: Vec<Ticket>,
}

/// List the tickets of an order.
///
/// One for each seat, once the order is paid. A moment later each is rendered, and has a `code` for
/// the door of the hall and a `pdf`.
#[utoipa::path(
    get,
    path = "/api/booking/orders/{id}/tickets",
    operation_id = "list_tickets",
    tag = "tickets",
    params(("id" = Uuid, Path, description = "The `id` of an order of yours")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "Its tickets", body = Tickets),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn list_tickets(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<Json<Tickets>, Problem> {
    // One row without a ticket for an order that has none yet; no row for no order.
    let rows = sqlx::query!(
        r#"SELECT tickets.id AS "id?", section AS "section?", row_name AS "row_name?",
            number AS "number?", tickets.state AS "state?: TicketState", code,
            pdf IS NOT NULL AS "rendered!"
        FROM orders
        LEFT JOIN tickets ON tickets.order_id = orders.id
        LEFT JOIN seats ON seats.id = tickets.seat_id
        WHERE orders.id = $1 AND customer_id = $2 ORDER BY rank"#,
        id,
        account.id
    )
    .fetch_all(&app.pool)
    .await?;
    if rows.is_empty() {
        return Err(Problem::not_found("you have no such order"));
    }
    let items = rows
        .into_iter()
        .filter_map(|row| {
            let (id, state) = (row.id?, row.state?);
            let seat = Seat {
                section: row.section?,
                row: row.row_name?,
                number: row.number?,
            };
            let has_pdf = row.rendered && state != TicketState::Cancelled;
            let pdf = has_pdf.then(|| format!("/api/booking/tickets/{id}/pdf"));
            Some(Ticket {
                id,
                seat,
                state,
                code: row.code,
                pdf,
            })
        })
        .collect();
    Ok(Json(Tickets { items }))
}
