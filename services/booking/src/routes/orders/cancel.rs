//! `POST /api/booking/orders/{id}/cancel`.
//!
//! Transaction `cancel_order`, read committed: the order is locked before its state is judged. A
//! scan at the door locks it too, so of a cancellation and a scan exactly one wins.
//!
//! An order whose payment is under way takes the cancellation as a request: a refund is queued
//! behind the charge in the order's own group, and the seats are freed when that is settled.

#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Account;
use messages::outbox::{Destination, Kind};
use problem::Problem;
use problem::extract::Path;
use sqlx::PgConnection;
use transaction::Isolation;
use uuid::Uuid;

use crate::app::App;
use crate::orders::{self, Order, State as OrderState};
use crate::reply::Reply;
use crate::routes::answers;
use crate::trace_context::TraceContext;

/// Cancel an order.
///
/// A paid order is refunded; an order whose payment is under way is cancelled once that is settled.
#[utoipa::path(
    post,
    path = "/api/booking/orders/{id}/cancel",
    operation_id = "cancel_order",
    tag = "orders",
    params(
        ("id" = Uuid, Path, description = "The `id` of an order of yours"),
        Key,
    ),
    security(("session" = [])),
    responses(
        answers::Act,
        (status = 202, description = "The cancellation is accepted", body = Order,
            headers(("Location" = String, description = "Where the order can be read"))),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "ticket-admitted, order-final; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
    key: Key,
    trace: TraceContext,
) -> Result<Reply, Problem> {
    let operation = &Operation {
        account_id: account.id,
        name: "cancel_order",
        key: &key,
        request_hash: idempotency::hash(&id)?,
    };
    let trace = &trace;
    transaction::run(
        &app.pool,
        "cancel_order",
        Isolation::ReadCommitted,
        |mut tx| async move {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Reply::Again(first));
            }
            let order = orders::lock(&mut tx, account.id, id).await?;
            match order.state {
                OrderState::Pending if !order.cancel_requested => {
                    ask(&mut tx, id, OrderState::Pending).await?;
                    refund(&mut tx, id, trace).await?;
                }
                OrderState::Declined => free(&mut tx, id).await?,
                OrderState::Paid if order.event_begun => {
                    return Err(last_word("the event has begun"));
                }
                OrderState::Paid => {
                    withdraw_tickets(&mut tx, id).await?;
                    ask(&mut tx, id, OrderState::Cancelling).await?;
                    refund(&mut tx, id, trace).await?;
                }
                // It was asked for before: how it stands now is the answer.
                OrderState::Pending | OrderState::Cancelling | OrderState::Cancelled => {}
                OrderState::Expired => {
                    return Err(last_word("the order was not paid in time and is over"));
                }
            }
            let order: Order = orders::read_one(&mut tx, account.id, id).await?;
            let answer = Answer::json(StatusCode::ACCEPTED, &order)?.at(orders::location(id));
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done(Reply::First(answer))
        },
    )
    .await
}

/// Notes that the customer wants out, and the state that this leads to.
async fn ask(tx: &mut PgConnection, id: Uuid, state: OrderState) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE orders SET cancel_requested = true, state = $2, updated_at = clock_timestamp()
        WHERE id = $1",
        id,
        state as OrderState
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn refund(tx: &mut PgConnection, id: Uuid, trace: &TraceContext) -> Result<(), sqlx::Error> {
    outbox::append(tx, Destination::Payments, id, Kind::Refund, trace.parent()).await?;
    Ok(())
}

/// Ends an order that nothing was paid for, and frees its seats.
async fn free(tx: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH cancelled AS (
            UPDATE orders SET state = 'cancelled', cancel_requested = true,
                payment_due_at = NULL, updated_at = clock_timestamp()
            WHERE id = $1
        )
        UPDATE seats SET order_id = NULL WHERE order_id = $1",
        id
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes the order's tickets worthless, unless one of them has let somebody in.
async fn withdraw_tickets(tx: &mut PgConnection, id: Uuid) -> Result<(), Problem> {
    let admitted = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM tickets WHERE order_id = $1 AND state = 'admitted')
            AS "admitted!""#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    if admitted {
        return Err(Problem::conflict(
            "ticket-admitted",
            "A ticket was used",
            "a ticket of this order has let somebody in; the order cannot be cancelled any more",
        ));
    }
    sqlx::query!(
        "UPDATE tickets SET state = 'cancelled' WHERE order_id = $1",
        id
    )
    .execute(tx)
    .await?;
    Ok(())
}

fn last_word(why: &'static str) -> Problem {
    Problem::conflict("order-final", "The order is final", why)
}
