//! `GET /api/booking/holds/{id}`.
//!
//! A plain read of one statement, read committed.

use axum::extract::State;
use messages::account::Account;
use problem::Problem;
use problem::extract::{Json, Path};
use sqlx::types::Json as Jsonb;
use uuid::Uuid;

use crate::app::App;
use crate::holds::{Hold, State as HoldState};
use crate::routes::answers;
use crate::seats::PricedSeat;

/// Read a hold.
///
/// One of your own: its seats, its prices, and what became of it.
#[utoipa::path(
    get,
    path = "/api/booking/holds/{id}",
    operation_id = "read_hold",
    tag = "holds",
    params(("id" = Uuid, Path, description = "The `id` of a hold of yours")),
    security(("session" = [])),
    responses(
        answers::Read,
        (status = 200, description = "The hold", body = Hold),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
) -> Result<Json<Hold>, Problem> {
    // A hold whose time is over counts as expired at once, whenever the sweep comes by.
    let hold = sqlx::query!(
        r#"SELECT event_id, total_minor, currency, expires_at,
            CASE WHEN state = 'active' AND expires_at <= clock_timestamp() THEN 'expired'
                ELSE state END AS "state!: HoldState",
            (
                SELECT coalesce(jsonb_agg(jsonb_build_object('section', section, 'row', row_name,
                    'number', number, 'price_minor', hold_seats.price_minor) ORDER BY rank), '[]')
                FROM hold_seats JOIN seats ON seats.id = hold_seats.seat_id
                WHERE hold_seats.hold_id = holds.id
            ) AS "seats!: Jsonb<Vec<PricedSeat>>"
        FROM holds JOIN events ON events.id = holds.event_id
        WHERE holds.id = $1 AND customer_id = $2"#,
        id,
        account.id
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or_else(super::unknown)?;
    Ok(Json(Hold {
        id,
        event_id: hold.event_id,
        state: hold.state,
        seats: hold.seats.0,
        total_minor: hold.total_minor,
        currency: hold.currency,
        expires_at: hold.expires_at,
    }))
}
