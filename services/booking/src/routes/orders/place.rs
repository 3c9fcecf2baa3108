//! `POST /api/booking/orders`: turn a hold into an order, and ask for its payment.
//!
//! Transaction `place_order`, read committed: the hold is locked first, and what is judged is
//! judged after that. Order, seats, the outbox row that asks for the charge, and the kept answer
//! commit together or not at all.

#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Account;
use messages::outbox::{Destination, Kind};
use problem::Problem;
use problem::extract::Json;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use transaction::Isolation;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::holds::State as HoldState;
use crate::orders::{self, Order};
use crate::reply::{self, Reply};
use crate::routes::{answers, events};
use crate::seats::PricedSeat;
use crate::trace_context::TraceContext;
use crate::{metrics, text};

/// Which hold, and who pays.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// The hold to order.
    pub hold_id: Uuid,
    /// Sandbox card number.
    #[schema(example = "4242424242424242", pattern = "^[0-9]{16}$")]
    pub card: String,
}

/// Order what is held.
///
/// `hold_id` is the `id` of a hold of yours that is active. The order is accepted; its payment
/// follows. Read it at its `Location` to see how it goes.
#[utoipa::path(
    post,
    path = "/api/booking/orders",
    operation_id = "place_order",
    tag = "orders",
    params(Key),
    request_body(content = PlaceOrder, example = json!({
        "hold_id": "00000000-0000-7000-8000-000000000002", "card": "4242424242424242",
    })),
    security(("session" = [])),
    responses(
        answers::Write,
        (status = 202, description = "The order is accepted", body = Order,
            headers(("Location" = String, description = "Where the order can be read"))),
        (status = 404, description = "not-found: no such hold", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "event-began, hold-expired, hold-ordered, hold-released; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn place(
    State(app): State<App>,
    account: Account,
    key: Key,
    trace: TraceContext,
    Json(request): Json<PlaceOrder>,
) -> Result<Reply, Problem> {
    text::sandbox_number("card", &request.card)?;
    let operation = &Operation {
        account_id: account.id,
        name: "place_order",
        key: &key,
        request_hash: idempotency::hash(&request)?,
    };
    let (request, trace) = (&request, &trace);
    let outcome = transaction::run(
        &app.pool,
        "place_order",
        Isolation::ReadCommitted,
        |mut tx| async move {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Reply::Again(first));
            }
            let hold = lock_hold(&mut tx, account.id, request.hold_id).await?;
            let order = sell(&mut tx, account.id, request, hold).await?;
            outbox::append(
                &mut tx,
                Destination::Payments,
                order.id,
                Kind::Charge,
                trace.parent(),
            )
            .await?;
            let answer = Answer::json(StatusCode::ACCEPTED, &order)?.at(orders::location(order.id));
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done(Reply::First(answer))
        },
    )
    .await;
    metrics::order(reply::result(&outcome));
    outcome
}

struct LockedHold {
    event_id: Uuid,
    total_minor: i64,
    currency: String,
}

/// Locks the hold and judges, after that, whether it may be ordered.
async fn lock_hold(
    tx: &mut PgConnection,
    customer_id: Uuid,
    hold_id: Uuid,
) -> Result<LockedHold, Problem> {
    let hold = sqlx::query!(
        r#"WITH hold AS MATERIALIZED (
            SELECT event_id, state, total_minor, expires_at FROM holds
            WHERE id = $1 AND customer_id = $2 FOR UPDATE
        )
        SELECT event_id, state AS "state: HoldState", total_minor, currency,
            expires_at > clock_timestamp() AS "running!",
            starts_at <= clock_timestamp() AS "event_began!"
        FROM hold JOIN events ON events.id = event_id"#,
        hold_id,
        customer_id
    )
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| Problem::not_found("you have no such hold"))?;
    match hold.state {
        HoldState::Ordered => Err(Problem::conflict(
            "hold-ordered",
            "The hold became an order",
            "this hold was ordered before",
        )),
        _ if hold.event_began => Err(events::began()),
        HoldState::Active if hold.running => Ok(LockedHold {
            event_id: hold.event_id,
            total_minor: hold.total_minor,
            currency: hold.currency,
        }),
        HoldState::Active | HoldState::Expired => Err(expired()),
        HoldState::Released => Err(Problem::conflict(
            "hold-released",
            "The hold was given back",
            "the seats of this hold were given back; hold some again",
        )),
    }
}

/// Makes the order and gives it the hold's seats.
async fn sell(
    tx: &mut PgConnection,
    customer_id: Uuid,
    request: &PlaceOrder,
    hold: LockedHold,
) -> Result<Order, Problem> {
    let id = Uuid::now_v7();
    let rows = sqlx::query!(
        "WITH ordered AS (
            UPDATE holds SET state = 'ordered' WHERE id = $2
        ), placed AS (
            INSERT INTO orders (id, hold_id, customer_id, event_id, total_minor, currency, card)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            RETURNING created_at, updated_at
        ), sold AS (
            UPDATE seats SET order_id = $1, hold_id = NULL, held_until = NULL FROM hold_seats
            WHERE hold_seats.hold_id = $2 AND seats.id = hold_seats.seat_id
                AND seats.hold_id = $2
            RETURNING seats.id, section, row_name, number, rank, hold_seats.price_minor
        ), kept AS (
            INSERT INTO order_seats (order_id, seat_id, price_minor)
            SELECT $1, id, price_minor FROM sold
        )
        SELECT section, row_name, number, price_minor, created_at, updated_at
        FROM sold, placed ORDER BY rank",
        id,
        request.hold_id,
        customer_id,
        hold.event_id,
        hold.total_minor,
        hold.currency,
        request.card
    )
    .fetch_all(tx)
    .await?;
    // Prices are positive, so the sum is the hold's only if none of its seats was taken over by
    // another hold in the moment between the clock's judgement and this statement.
    let total: i64 = rows.iter().map(|row| row.price_minor).sum();
    let (Some(first), true) = (rows.first(), total == hold.total_minor) else {
        return Err(expired());
    };
    Ok(Order {
        id,
        event_id: hold.event_id,
        hold_id: request.hold_id,
        state: orders::State::Pending,
        cancel_requested: false,
        needs_attention: false,
        attempt: 1,
        total_minor: hold.total_minor,
        currency: hold.currency,
        payment_due_at: None,
        created_at: first.created_at,
        updated_at: first.updated_at,
        seats: rows
            .into_iter()
            .map(|row| PricedSeat {
                section: row.section,
                row: row.row_name,
                number: row.number,
                price_minor: row.price_minor,
            })
            .collect(),
    })
}

fn expired() -> Problem {
    Problem::conflict(
        "hold-expired",
        "The hold's time is over",
        "the seats were kept until the hold's expires_at; hold some again",
    )
}
