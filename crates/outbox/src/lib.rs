//! The outbox: what has to be said to others, written in the transaction it follows from.
//!
//! A row is done when its effect is recorded, not when it was sent. [`append`] numbers rows within
//! their group; the relay ([`relay`]) marks what is due to be sent and keeps at most one
//! undelivered row of a group in flight; a consumer ([`delivery`]) applies only the lowest
//! undelivered row of a group and marks it in the transaction of its effect; a row that ended in a
//! dead-letter queue is marked dead ([`dead`]) and blocks its group until it is redriven.
//!
//! What this promises: one effect at most for each row, effects of a group in order, and no row
//! forgotten, whatever the queue loses or repeats. What it leaves to others: the queue itself, the
//! fence of the leader that relays, what a row means.

mod append;
pub mod backlog;
pub mod dead;
pub mod delivery;
pub mod group;
pub mod relay;

pub use append::append;
pub use messages::outbox::{Destination, Kind};

use sqlx::PgConnection;

/// Deletes up to `limit` rows that were delivered longer ago than `age`; how many there were.
///
/// # Errors
/// The database refused or was away.
pub async fn prune(
    tx: &mut PgConnection,
    age: std::time::Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox
            WHERE delivered_at < now() - make_interval(secs => $1)
            ORDER BY delivered_at LIMIT $2
        )",
        age.as_secs_f64(),
        limit,
    )
    .execute(tx)
    .await?;
    Ok(pruned.rows_affected())
}
