//! Orders as clients see them.

use chrono::{DateTime, Utc};
use problem::Problem;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::seats::PricedSeat;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[schema(as = OrderState)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// The payment is under way.
    Pending,
    /// The bank said no; another card may be given until `payment_due_at`.
    Declined,
    /// Paid.
    Paid,
    /// Paid, and the refund is under way.
    Cancelling,
    /// Over: nothing was paid, or it was given back.
    Cancelled,
    /// Over: it was not paid in time, or too many cards were declined.
    Expired,
}

/// Seats that a customer buys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// The hold that it was made from.
    pub hold_id: Uuid,
    /// Where it stands.
    pub state: State,
    /// Whether its customer asked for cancellation.
    pub cancel_requested: bool,
    /// Whether something it waits for could not be done and a person has to look.
    pub needs_attention: bool,
    /// The number of the card: 1 for the first one.
    pub attempt: i32,
    /// The seats.
    pub seats: Vec<PricedSeat>,
    /// What they cost together, in minor units.
    #[schema(example = 9000)]
    pub total_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// Until when the order may be paid with another card. The first decline sets it, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_due_at: Option<DateTime<Utc>>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When its state changed last.
    pub updated_at: DateTime<Utc>,
}

/// Where an order can be read.
pub fn location(id: Uuid) -> String {
    format!("/api/booking/orders/{id}")
}

/// Reads those of the orders `ids` that are the customer's, newest first.
///
/// # Errors
/// Failures of the database.
pub async fn read(
    connection: &mut PgConnection,
    customer_id: Uuid,
    ids: &[Uuid],
) -> Result<Vec<Order>, Problem> {
    let rows = sqlx::query!(
        r#"SELECT orders.id, event_id, hold_id, state AS "state: State", cancel_requested, attempt,
            total_minor, currency, payment_due_at, created_at, updated_at,
            EXISTS (
                SELECT FROM outbox
                WHERE destination IN ('payments', 'tickets') AND group_id = orders.id
                    AND delivered_at IS NULL AND dead_at IS NOT NULL
            ) AS "needs_attention!",
            (
                SELECT coalesce(jsonb_agg(jsonb_build_object('section', section, 'row', row_name,
                    'number', number, 'price_minor', order_seats.price_minor) ORDER BY rank), '[]')
                FROM order_seats JOIN seats ON seats.id = order_seats.seat_id
                WHERE order_seats.order_id = orders.id
            ) AS "seats!: Json<Vec<PricedSeat>>"
        FROM orders WHERE orders.id = ANY ($1) AND customer_id = $2
        ORDER BY orders.id DESC"#,
        ids,
        customer_id
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Order {
            id: row.id,
            event_id: row.event_id,
            hold_id: row.hold_id,
            state: row.state,
            cancel_requested: row.cancel_requested,
            needs_attention: row.needs_attention,
            attempt: row.attempt,
            seats: row.seats.0,
            total_minor: row.total_minor,
            currency: row.currency,
            payment_due_at: row.payment_due_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
        .collect())
}

/// Reads one order.
///
/// # Errors
/// 404 where it is not there or another customer's.
pub async fn read_one(
    connection: &mut PgConnection,
    customer_id: Uuid,
    id: Uuid,
) -> Result<Order, Problem> {
    read(connection, customer_id, &[id])
        .await?
        .pop()
        .ok_or_else(unknown)
}

/// An order that is locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Where it stands.
    pub state: State,
    /// Whether its customer asked for cancellation.
    pub cancel_requested: bool,
    /// Whether another card may still be given, judged after the lock was had.
    pub may_pay: bool,
    /// Whether the event has begun, judged after the lock was had.
    pub event_begun: bool,
}

/// Locks one order: whatever changes an order or its tickets does this first.
///
/// # Errors
/// 404 where it is not there or another customer's.
pub async fn lock(
    connection: &mut PgConnection,
    customer_id: Uuid,
    id: Uuid,
) -> Result<Locked, Problem> {
    sqlx::query_as!(
        Locked,
        r#"WITH locked AS MATERIALIZED (
            SELECT event_id, state, cancel_requested, payment_due_at FROM orders
            WHERE id = $1 AND customer_id = $2 FOR UPDATE
        )
        SELECT state AS "state: State", cancel_requested,
            coalesce(payment_due_at > clock_timestamp(), false) AS "may_pay!",
            starts_at <= clock_timestamp() AS "event_begun!"
        FROM locked JOIN events ON events.id = locked.event_id"#,
        id,
        customer_id
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("you have no such order")
}
