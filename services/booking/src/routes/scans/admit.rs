//! `POST /api/booking/scans`: a ticket at the door.
//!
//! The signature is verified before the database is asked anything. Transaction `scan_ticket`, read
//! committed: the ticket's order is locked before the ticket is judged. A cancellation locks it
//! too, so of a scan and a cancellation exactly one wins.

#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Account;
use problem::Problem;
use problem::extract::Json;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use transaction::Isolation;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::reply::Reply;
use crate::routes::answers;
use crate::seats::Seat;
use crate::ticket_code::Signed;

/// What the QR code says.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// The code of a ticket.
    #[schema(min_length = 128, max_length = 128, pattern = "^[A-Za-z0-9_-]{128}$")]
    pub code: String,
}

/// What a scan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScanResult)]
pub enum Outcome {
    /// Let them in.
    Admitted,
}

/// Somebody was let in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Scanned {
    /// The ticket.
    pub ticket_id: Uuid,
    /// What the scan comes to.
    pub result: Outcome,
    /// When they were let in.
    pub admitted_at: DateTime<Utc>,
    /// Where they sit.
    pub seat: Seat,
}

/// The form of a code. Only tickets have codes that are signed, so this one is refused as forged.
fn example() -> Scan {
    Scan {
        code: "A".repeat(128),
    }
}

/// Let somebody in, once.
///
/// The organiser of the event scans the `code` of a ticket of `list_tickets` at the door of the hall.
#[utoipa::path(
    post,
    path = "/api/booking/scans",
    operation_id = "scan_ticket",
    tag = "scans",
    params(Key),
    request_body(content = Scan, example = example),
    security(("session" = [])),
    responses(
        answers::Write,
        (status = 200, description = "Let them in", body = Scanned),
        (status = 403, description = "forbidden: only organisers scan", body = problem::Body, content_type = "application/problem+json"),
        (status = 404, description = "not-found: not a ticket of one of your events", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "ticket-already-admitted, ticket-cancelled; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
        (status = 422, description = "ticket-forged, invalid-request, idempotency-key-reused", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn admit(
    State(app): State<App>,
    account: Account,
    key: Key,
    Json(request): Json<Scan>,
) -> Result<Reply, Problem> {
    let organiser = account.organiser()?;
    let signed = app.ticket_key.read(&request.code).ok_or_else(forged)?;
    let operation = &Operation {
        account_id: organiser.id,
        name: "scan_ticket",
        key: &key,
        request_hash: idempotency::hash(&request)?,
    };
    transaction::run(
        &app.pool,
        "scan_ticket",
        Isolation::ReadCommitted,
        |mut tx| async move {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Reply::Again(first));
            }
            let scanned = admit_once(&mut tx, organiser.id, signed).await?;
            let answer = Answer::json(StatusCode::OK, &scanned)?;
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done(Reply::First(answer))
        },
    )
    .await
}

async fn admit_once(
    tx: &mut PgConnection,
    organiser_id: Uuid,
    signed: Signed,
) -> Result<Scanned, Problem> {
    sqlx::query_scalar!(
        "SELECT orders.id FROM orders
        JOIN tickets ON tickets.order_id = orders.id
        JOIN events ON events.id = orders.event_id
        WHERE tickets.id = $1 AND events.id = $2 AND organiser_id = $3
        FOR UPDATE OF orders",
        signed.ticket_id,
        signed.event_id,
        organiser_id
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| Problem::not_found("this is not a ticket of one of your events"))?;
    let admitted = sqlx::query!(
        r#"UPDATE tickets SET state = 'admitted', admitted_at = clock_timestamp() FROM seats
        WHERE tickets.id = $1 AND state = 'valid' AND seats.id = seat_id
        RETURNING admitted_at AS "admitted_at!", section, row_name, number"#,
        signed.ticket_id
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = admitted {
        return Ok(Scanned {
            ticket_id: signed.ticket_id,
            result: Outcome::Admitted,
            admitted_at: row.admitted_at,
            seat: Seat {
                section: row.section,
                row: row.row_name,
                number: row.number,
            },
        });
    }
    let admitted_at = sqlx::query_scalar!(
        "SELECT admitted_at FROM tickets WHERE id = $1",
        signed.ticket_id
    )
    .fetch_one(tx)
    .await?;
    Err(match admitted_at {
        Some(at) => Problem::conflict(
            "ticket-already-admitted",
            "The ticket was used before",
            format!("this ticket let somebody in at {}", at.to_rfc3339()),
        ),
        None => Problem::conflict(
            "ticket-cancelled",
            "The ticket is cancelled",
            "the order of this ticket was cancelled",
        ),
    })
}

fn forged() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "ticket-forged",
        "The ticket is forged",
        "the code was not signed by this box office",
    )
    .field("code")
}
