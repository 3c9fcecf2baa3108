//! A charge: paid, declined, or paid only to be refunded, because the customer changed their mind or
//! because the event began meanwhile.
//!
//! The start of the event is judged twice. Before the bank is asked: once the event has begun, the
//! worker cancels the charge instead of requesting it. And after the row of the order is locked: an
//! order becomes paid only if its event has not begun by then, so what was charged across the line is
//! refunded.
//!
//! Whether the bank has the charge already, the bank decides by its key. An earlier request may have
//! lost its answer, may still be under way, or may be one of another worker. A cancellation either
//! gets the movement that the key has, or declines the key for ever. So no money stays at the bank
//! unseen.

use messages::bank::{ChargeRequest, Movement, Outcome};
use messages::outbox::{Destination, Kind};
use outbox::delivery::{self, Delivered, Row};
use sqlx::PgConnection;
use transaction::Isolation;
use uuid::Uuid;

use super::order::{Order, State};
use super::{Failure, Payments, Settled, metrics};
use crate::ledger::{self, Posting};

/// Most cards that an order is tried with. With the one deadline that it has, this bounds for how
/// long seats are kept without paying, and what the bank is asked for meanwhile.
pub const MOST_CARDS: i32 = 5;

impl Payments {
    /// Charges the order's card, or ends its charge once the event has begun, and settles what came
    /// of it.
    pub(super) async fn charge(
        &self,
        row: Row,
        order: &Order,
        traceparent: Option<&str>,
    ) -> Result<Settled, Failure> {
        if order.state != State::Pending {
            return Err(Failure::Inconsistent(
                "a charge of an order that is not pending",
            ));
        }
        let body = ChargeRequest {
            card: order.card.clone(),
            amount_minor: order.total_minor,
            currency: order.currency.clone(),
            reference: order.id,
        };
        let key = order.charge_key();
        let movement = if order.event_begun {
            self.bank.cancel_charge(&key, &body).await?
        } else {
            self.bank.charge(&key, &body).await?
        };
        self.settle_charge(row, order, &movement, traceparent).await
    }

    /// Records what the bank said of the charge.
    pub(super) async fn settle_charge(
        &self,
        row: Row,
        asked: &Order,
        movement: &Movement,
        traceparent: Option<&str>,
    ) -> Result<Settled, Failure> {
        // Read committed: the order and the outbox row are locked before they are read.
        let settled = transaction::run(
            &self.pool,
            "settle charge",
            Isolation::ReadCommitted,
            |mut tx| async move {
                let order = Order::lock(&mut tx, asked.id).await?;
                if delivery::lock(&mut tx, row.id).await?.is_err() {
                    return tx.done(None);
                }
                if order.state != State::Pending || order.attempt != asked.attempt {
                    return Err(Failure::Inconsistent(
                        "the order changed while it was charged",
                    ));
                }
                let result = match movement.outcome {
                    Outcome::Succeeded => {
                        self.paid(&mut tx, &order, movement.id, traceparent).await?
                    }
                    Outcome::Declined => self.declined(&mut tx, &order).await?,
                };
                let delivered = delivery::deliver(&mut tx, &row).await?;
                tx.done(Some((result, delivered)))
            },
        )
        .await?;
        Ok(conclude(asked, settled))
    }

    async fn paid(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        charge: Uuid,
        traceparent: Option<&str>,
    ) -> Result<&'static str, Failure> {
        let keeps = !order.cancel_requested && !order.event_begun;
        let state = if keeps { "paid" } else { "cancelling" };
        sqlx::query!(
            "UPDATE orders SET state = $2, charge_id = $3, payment_due_at = NULL,
                updated_at = clock_timestamp()
            WHERE id = $1",
            order.id,
            state,
            charge,
        )
        .execute(&mut *tx)
        .await?;
        let posting = Posting {
            kind: ledger::Kind::Charge,
            event: order.event,
            order: Some(order.id),
            settlement: None,
            cause: &order.charge_key(),
            fence_token: None,
            amount_minor: order.total_minor,
            currency: &order.currency,
        };
        ledger::record(&mut *tx, posting).await?;
        if keeps {
            issue_tickets(&mut *tx, order.id).await?;
            let (to, kind) = (Destination::Tickets, Kind::RenderTickets);
            outbox::append(tx, to, order.id, kind, traceparent).await?;
        } else if !order.cancel_requested {
            // A cancellation has written the row of its refund itself.
            let (to, kind) = (Destination::Payments, Kind::Refund);
            outbox::append(tx, to, order.id, kind, traceparent).await?;
        }
        Ok(state)
    }

    async fn declined(
        &self,
        tx: &mut PgConnection,
        order: &Order,
    ) -> Result<&'static str, Failure> {
        if order.cancel_requested {
            order.cancel(tx).await?;
            return Ok("cancelled");
        }
        if order.event_begun || order.attempt >= MOST_CARDS {
            order.expire(tx).await?;
            return Ok("expired");
        }
        // The first decline sets the deadline; another card does not move it.
        sqlx::query!(
            "UPDATE orders SET state = 'declined', payment_due_at = coalesce(payment_due_at,
                    clock_timestamp() + make_interval(secs => $2)),
                updated_at = clock_timestamp()
            WHERE id = $1",
            order.id,
            self.card_within.as_secs_f64(),
        )
        .execute(tx)
        .await?;
        Ok("declined")
    }
}

/// A ticket for each seat of a paid order; their serials are their ids.
async fn issue_tickets(tx: &mut PgConnection, order: Uuid) -> Result<(), Failure> {
    let seats = sqlx::query_scalar!("SELECT seat_id FROM order_seats WHERE order_id = $1", order)
        .fetch_all(&mut *tx)
        .await?;
    let ids: Vec<Uuid> = seats.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query!(
        "INSERT INTO tickets (id, order_id, seat_id)
        SELECT ticket.id, $1, ticket.seat_id
        FROM unnest($2::uuid[], $3::bigint[]) AS ticket (id, seat_id)",
        order,
        &ids,
        &seats,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Counts and logs a settlement once it is committed.
pub(super) fn conclude(order: &Order, settled: Option<(&'static str, Delivered)>) -> Settled {
    let Some((result, delivered)) = settled else {
        return Settled::Stale;
    };
    delivered.observe();
    metrics::settled(result);
    tracing::info!(order.id = %order.id, order.state = result, "order settled");
    Settled::Done
}
