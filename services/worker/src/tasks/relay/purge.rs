//! Purging a FIFO queue that stands empty, so that LocalStack stays the same size.
//!
//! LocalStack remembers every message group of a FIFO queue, and with each deduplication id its
//! message, for as long as it runs: some kilobytes an order, and each look at the queue goes through
//! all groups. It has a purge forget them. SQS itself forgets by itself, and minds no purge.
//!
//! A purge loses no row. It is done by the relay, which alone sends and does one thing at a time,
//! when no row waits for its effect and the queue says that it is empty. Should another leader send
//! something meanwhile, its row has no recorded effect, the queue is seen to hold too little, and the
//! row is sent again. Dead-letter queues are left alone: a letter that nobody can read is all that is
//! known of it. Only such a letter could be lost, if somebody redrives it between the look at the
//! queue and its purge.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use messages::outbox::Destination;
use prometheus::{IntCounterVec, register_int_counter_vec};
use queue::Counts;
use sqlx::PgConnection;
use transaction::Isolation;

use super::{Failure, Relay};
use crate::fence;

/// How often at most, whoever leads.
const EVERY: Duration = Duration::from_secs(3600);
/// How often an idle relay thinks of it.
const THINK_EVERY: Duration = Duration::from_secs(60);

impl Relay {
    /// Purges the queue now and then. To be called while no row waits for its effect.
    pub(super) async fn purge_now_and_then(&self, token: i64) -> Result<(), Failure> {
        if !self.queue.is_fifo() || self.memory().thought_of_purge.elapsed() < THINK_EVERY {
            return Ok(());
        }
        self.memory().thought_of_purge = Instant::now();
        self.purge(token).await.map(|_| ())
    }

    /// Purges the queue under the term's token if it is empty and was not purged for an hour;
    /// whether it did.
    ///
    /// # Errors
    /// Refused by the token, or the database or the queue failed.
    pub async fn purge(&self, token: i64) -> Result<bool, Failure> {
        if self.queue.counts().await? != Counts::default() {
            return Ok(false);
        }
        let task = match self.destination {
            Destination::Payments => "purge-payments",
            Destination::Tickets => "purge-tickets",
        };
        // Read committed: the fence is locked before the last purge is read, and only a leader
        // writes it. It is written down first, so that a purge that fails waits for its next turn.
        let due = transaction::run(
            &self.pool,
            "relay purge",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let due = !purged_lately(&mut tx, task).await?;
                if due {
                    fence::store(&mut tx, task, token).await?;
                }
                tx.done::<_, Failure>(due)
            },
        )
        .await?;
        if due {
            self.queue.purge().await?;
            PURGES.with_label_values(&[self.queue.name()]).inc();
            tracing::info!(queue.name = self.queue.name(), "an empty queue was purged");
        }
        Ok(due)
    }
}

async fn purged_lately(tx: &mut PgConnection, task: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
            SELECT FROM leader_tasks
            WHERE task = $1 AND last_effect_at > clock_timestamp() - make_interval(secs => $2)
        ) AS "lately!""#,
        task,
        EVERY.as_secs_f64(),
    )
    .fetch_one(tx)
    .await
}

/// Shows the count of a queue before there is anything to count.
pub(super) fn show(queue: &queue::Queue) {
    if queue.is_fifo() {
        PURGES.with_label_values(&[queue.name()]);
    }
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static PURGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "queue_purges_total",
        "Purges of a FIFO queue that stood empty, which make LocalStack forget what passed through.",
        &["queue"]
    )
    .expect("metric names are unique")
});
