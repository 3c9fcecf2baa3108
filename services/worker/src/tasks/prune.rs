//! Deletes what no longer serves, so that a stack left up for long stays the same size: delivered
//! outbox rows, holds that came to nothing, old keys, old terms, and events that are over, down to
//! their closing balances.
//!
//! Each run deletes a bounded number of rows of each kind, in small fenced transactions.

mod events;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use leader::Term;
use sqlx::{PgConnection, PgPool};
use transaction::Isolation;
use uuid::Uuid;

use super::{Failure, Task};
use crate::fence;

/// How long delivered outbox rows are kept.
const OUTBOX_KEPT: Duration = Duration::from_secs(3600);
/// How long holds that came to nothing are kept after their time was over: long enough for a
/// client to read what became of them, and for checkers.
const HOLDS_KEPT: Duration = Duration::from_secs(3600);
/// How many terms are kept.
const TERMS_KEPT: i64 = 10_000;
/// Most rows of one kind deleted in one transaction.
const BATCH: i64 = 1000;
/// The pause after a run that left nothing over.
const PAUSE: Duration = Duration::from_secs(30);
/// The pause after a run that left something over.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Pruning.
#[derive(Debug)]
pub struct Prune {
    pool: PgPool,
    keep: Duration,
    /// Events whose pruning failed, and when.
    failed: Mutex<HashMap<Uuid, Instant>>,
}

impl Prune {
    /// Prunes the database of `pool`, events once they began longer ago than `keep`.
    #[must_use]
    pub fn new(pool: PgPool, keep: Duration) -> Self {
        Self {
            pool,
            keep,
            failed: Mutex::default(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Uuid, Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes up to a batch of old rows of each kind; whether more may be left.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn rows(&self, token: i64) -> Result<bool, Failure> {
        let name = self.name();
        // Read committed: what is old stays old. Ages are measured by now(), which an index can
        // look for; clock_timestamp() would be compared with each row.
        transaction::run(
            &self.pool,
            "prune rows",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let rows = outbox::prune(&mut tx, OUTBOX_KEPT, BATCH).await?;
                let holds = holds_that_came_to_nothing(&mut tx).await?;
                let keys = idempotency::prune(&mut tx).await?;
                let terms = sqlx::query!(
                    "DELETE FROM leader_terms WHERE token <= $1",
                    token - TERMS_KEPT
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if rows + holds + keys + terms > 0 {
                    fence::store(&mut tx, name, token).await?;
                }
                let full = rows.max(holds) >= BATCH.unsigned_abs()
                    || keys >= u64::from(idempotency::PRUNE_BATCH);
                tx.done::<_, Failure>(full)
            },
        )
        .await
    }
}

/// Deletes holds that were released or expired; those that became orders go with them.
async fn holds_that_came_to_nothing(tx: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM holds WHERE id = ANY (ARRAY(
            SELECT id FROM holds WHERE state IN ('released', 'expired')
                AND expires_at < now() - make_interval(secs => $1)
            ORDER BY expires_at LIMIT $2))",
        HOLDS_KEPT.as_secs_f64(),
        BATCH,
    )
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}

impl Task for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        let more_rows = self.rows(term.token()).await?;
        let more_events = self.next_event(term.token()).await?;
        Ok(if more_rows || more_events {
            BUSY_PAUSE
        } else {
            PAUSE
        })
    }
}
