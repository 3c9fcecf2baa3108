//! The consumer of `payments.fifo`: charges and refunds.
//!
//! A message points at an outbox row. What is stale is dropped; else the bank is asked, with no
//! transaction open, under a key that a second delivery repeats; then one transaction settles the
//! order, its seats, the ledger, the tickets, the delivery mark and the next outbox row.
//!
//! What this promises: a row takes effect at most once, and only as the lowest undelivered one of
//! its order. What it leaves to others: sending again (the relay), giving up (the queue's receive
//! limit and the leader, who marks the row dead).

mod charge;
mod metrics;
pub mod order;
mod refund;

use std::sync::Arc;
use std::time::Duration;

use messages::outbox::{Kind, Pointer, VERSION};
use outbox::delivery::{self, Row};
use queue::Outcome;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::bank::{self, Bank};
use crate::patience::{self, Patience};
pub use charge::MOST_CARDS;
use order::Order;

/// Why a message could not be settled this time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database refused or was away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// No answer of the bank that one could act on.
    #[error(transparent)]
    Bank(#[from] bank::Failure),
    /// What stands in the database does not fit together.
    #[error("inconsistent: {0}")]
    Inconsistent(&'static str),
}

impl Patience for Failure {
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Database(error) => error.patience(),
            Self::Bank(failure) => failure.patience(),
            Self::Inconsistent(_) => None,
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Its effect is recorded.
    Done,
    /// It had nothing to do.
    Stale,
}

/// What settles payments.
#[derive(Clone, Debug)]
pub struct Payments {
    pool: PgPool,
    bank: Arc<Bank>,
    /// How long after the first decline a customer may give other cards.
    card_within: Duration,
    stop: CancellationToken,
}

impl Payments {
    /// Settles payments in the database of `pool`; waits for nothing once `stop` is asked for.
    #[must_use]
    pub fn new(
        pool: PgPool,
        bank: Arc<Bank>,
        card_within: Duration,
        stop: CancellationToken,
    ) -> Self {
        metrics::show();
        Self {
            pool,
            bank,
            card_within,
            stop,
        }
    }

    /// Takes one message.
    pub async fn consume(&self, pointer: &Pointer) -> Outcome {
        if pointer.version != VERSION {
            tracing::error!(
                message.version = pointer.version,
                "a message of an unknown version"
            );
            return Outcome::Retry;
        }
        match patience::while_away(&self.stop, || self.settle(pointer)).await {
            Ok(Settled::Done) => Outcome::Done,
            Ok(Settled::Stale) => Outcome::Stale,
            Err(failure) => {
                tracing::warn!(error = %failure, "the payment is not settled yet");
                Outcome::Retry
            }
        }
    }

    /// Settles the row that a message points at.
    ///
    /// # Errors
    /// See [`Failure`]; the message may be taken again.
    pub async fn settle(&self, pointer: &Pointer) -> Result<Settled, Failure> {
        let row = match delivery::look(&self.pool, pointer.row_id).await? {
            Ok(row) => row,
            Err(reason) => {
                tracing::debug!(reason = ?reason, "a stale message");
                return Ok(Settled::Stale);
            }
        };
        match self.take(row, pointer.traceparent.as_deref()).await {
            // The look holds no lock: another delivery may have settled the row since.
            Err(failure @ Failure::Inconsistent(_)) => {
                let still = delivery::look(&self.pool, row.id).await?;
                still.map_or(Ok(Settled::Stale), |_| Err(failure))
            }
            settled => settled,
        }
    }

    async fn take(&self, row: Row, traceparent: Option<&str>) -> Result<Settled, Failure> {
        let order = Order::read(&self.pool, row.group).await?;
        match row.kind {
            Kind::Charge => self.charge(row, &order, traceparent).await,
            Kind::Refund => self.refund(row, &order).await,
            Kind::RenderTickets => Err(Failure::Inconsistent("tickets on the payments queue")),
        }
    }
}
