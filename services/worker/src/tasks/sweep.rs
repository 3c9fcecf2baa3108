//! Releases what nobody came back for: expired holds, and declined orders without a new card.
//!
//! An expired hold counts as free at once wherever seats are chosen; the sweep only tidies. A run
//! that finds nothing writes nothing.

use std::time::Duration;

use leader::Term;
use sqlx::{PgConnection, PgPool};
use transaction::Isolation;
use uuid::Uuid;

use super::{Failure, Task};
use crate::fence;
use crate::payments::order::free_seats;

/// Most holds, and most orders, released in one transaction.
const BATCH: i64 = 200;

/// The sweep.
#[derive(Debug)]
pub struct Sweep {
    pool: PgPool,
    every: Duration,
}

/// What a sweep released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Expired holds.
    pub holds: usize,
    /// Declined orders.
    pub orders: usize,
}

impl Sweep {
    /// Sweeps `every` so often.
    #[must_use]
    pub fn new(pool: PgPool, every: Duration) -> Self {
        Self { pool, every }
    }

    async fn anything_expired(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT (EXISTS (SELECT FROM holds
                    WHERE state = 'active' AND expires_at <= clock_timestamp())
                OR EXISTS (SELECT FROM orders
                    WHERE state = 'declined' AND payment_due_at <= clock_timestamp())
            ) AS "expired!""#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Releases up to a batch of holds and of orders under the term's token.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn release(&self, token: i64) -> Result<Released, Failure> {
        let name = self.name();
        // Read committed: holds and orders are locked as they are chosen; one that somebody is
        // just ordering or paying is skipped, and looked at again by the next sweep.
        transaction::run(
            &self.pool,
            "sweep",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let holds = sqlx::query_scalar!(
                    "UPDATE holds SET state = 'expired', fence_token = $1
                WHERE id IN (SELECT id FROM holds
                    WHERE state = 'active' AND expires_at <= clock_timestamp()
                    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                RETURNING id",
                    token,
                    BATCH,
                )
                .fetch_all(&mut *tx)
                .await?;
                free_held(&mut tx, &holds).await?;
                let orders: Vec<Uuid> = sqlx::query_scalar!(
                    "UPDATE orders SET state = 'expired', updated_at = clock_timestamp()
                WHERE id IN (SELECT id FROM orders
                    WHERE state = 'declined' AND payment_due_at <= clock_timestamp()
                    ORDER BY payment_due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
                RETURNING id",
                    BATCH,
                )
                .fetch_all(&mut *tx)
                .await?;
                if !orders.is_empty() {
                    free_seats(&mut tx, &orders).await?;
                }
                if !holds.is_empty() || !orders.is_empty() {
                    fence::store(&mut tx, name, token).await?;
                }
                tx.done::<_, Failure>(Released {
                    holds: holds.len(),
                    orders: orders.len(),
                })
            },
        )
        .await
    }
}

/// Frees the seats that still carry one of the holds: after a hold's time is over another
/// customer's hold may have taken some of them.
async fn free_held(tx: &mut PgConnection, holds: &[Uuid]) -> Result<(), sqlx::Error> {
    if holds.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
        WHERE hold_seats.hold_id = ANY ($1) AND seats.id = hold_seats.seat_id
            AND seats.hold_id = hold_seats.hold_id",
        holds,
    )
    .execute(tx)
    .await?;
    Ok(())
}

impl Task for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        if !self.anything_expired().await? {
            return Ok(self.every);
        }
        let released = self.release(term.token()).await?;
        tracing::debug!(holds = released.holds, orders = released.orders, "released");
        let full = i64::try_from(released.holds.max(released.orders)).unwrap_or(i64::MAX) >= BATCH;
        Ok(if full { Duration::ZERO } else { self.every })
    }
}
