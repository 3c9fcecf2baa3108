//! A refund: the money goes back if it was taken, and the order ends cancelled with its seats free.

use messages::bank::{Movement, Outcome, RefundRequest};
use outbox::delivery::{self, Row};
use transaction::Isolation;
use uuid::Uuid;

use super::charge::conclude;
use super::order::{Order, State};
use super::{Failure, Payments, Settled};
use crate::ledger::{self, Posting};

impl Payments {
    /// Gives back what was charged for the order, and cancels it.
    pub(super) async fn refund(&self, row: Row, order: &Order) -> Result<Settled, Failure> {
        let Some(charge) = to_give_back(order) else {
            return self.settle_refund(row, order, None).await;
        };
        let body = RefundRequest {
            charge_id: charge,
            amount_minor: order.total_minor,
            reference: order.id,
        };
        let movement = self.bank.refund(&order.refund_key(), &body).await?;
        if movement.outcome == Outcome::Declined {
            return Err(Failure::Inconsistent(
                "the bank declined to give a charge back",
            ));
        }
        self.settle_refund(row, order, Some(&movement)).await
    }

    /// Records the refund, or that there was nothing to give back.
    pub(super) async fn settle_refund(
        &self,
        row: Row,
        asked: &Order,
        movement: Option<&Movement>,
    ) -> Result<Settled, Failure> {
        // Read committed: the order and the outbox row are locked before they are read.
        let settled = transaction::run(
            &self.pool,
            "settle refund",
            Isolation::ReadCommitted,
            |mut tx| async move {
                let order = Order::lock(&mut tx, asked.id).await?;
                if delivery::lock(&mut tx, row.id).await?.is_err() {
                    return tx.done(None);
                }
                if to_give_back(&order).is_some() != movement.is_some() {
                    return Err(Failure::Inconsistent(
                        "the order changed while it was refunded",
                    ));
                }
                if movement.is_some() {
                    let posting = Posting {
                        kind: ledger::Kind::Refund,
                        event: order.event,
                        order: Some(order.id),
                        settlement: None,
                        cause: &order.refund_key(),
                        fence_token: None,
                        amount_minor: order.total_minor,
                        currency: &order.currency,
                    };
                    ledger::record(&mut tx, posting).await?;
                }
                if !matches!(order.state, State::Cancelled | State::Expired) {
                    order.cancel(&mut tx).await?;
                }
                let delivered = delivery::deliver(&mut tx, &row).await?;
                tx.done(Some(("cancelled", delivered)))
            },
        )
        .await?;
        Ok(conclude(asked, settled))
    }
}

/// The charge that a refund of the order gives back.
fn to_give_back(order: &Order) -> Option<Uuid> {
    match order.state {
        State::Paid | State::Cancelling => order.charge_id,
        State::Pending | State::Declined | State::Cancelled | State::Expired => None,
    }
}
