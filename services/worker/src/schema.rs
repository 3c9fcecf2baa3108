//! Waiting for the tables: they are `booking`'s, which makes them by its own migrations.

use service::{Process, wait};
use sqlx::PgPool;

/// Waits, with a bound, until every table that this process works with is there and may be read.
///
/// # Errors
/// They were not there within [`wait::BOUND`].
pub async fn wait(pool: &PgPool, process: &Process) -> anyhow::Result<()> {
    wait::until_ready(process, "booking's tables", || {
        sqlx::query!(
            r#"SELECT (SELECT count(*) FROM events WHERE false) + (SELECT count(*) FROM seats WHERE false)
                + (SELECT count(*) FROM orders WHERE false) + (SELECT count(*) FROM tickets WHERE false)
                + (SELECT count(*) FROM settlements WHERE false)
                + (SELECT count(*) FROM ledger_entries WHERE false)
                + (SELECT count(*) FROM outbox WHERE false)
                + (SELECT count(*) FROM leader_tasks WHERE false) AS "none!""#
        )
        .fetch_one(pool)
    })
    .await?;
    Ok(())
}
