//! The time, written by the primary, as a measure of how old a standby is.

use std::time::Duration;

use service::Process;
use sqlx::{PgConnection, PgPool};

/// How often the time is written. It is part of the age that a standby seems to have.
const EVERY: Duration = Duration::from_millis(500);
/// The longest that one write is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Writes the time until the process stops. A replica whose turn another has taken writes nothing.
pub(crate) async fn beat(primary: PgPool, process: Process) -> anyhow::Result<()> {
    loop {
        let beat = sqlx::query!(
            "UPDATE replication_heartbeat SET beaten_at = clock_timestamp()
            WHERE beaten_at < clock_timestamp() - interval '400 milliseconds'"
        );
        match tokio::time::timeout(TIMEOUT, beat.execute(&primary)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "no heartbeat"),
            Err(_) => tracing::debug!("no heartbeat in time"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = process.draining() => return Ok(()),
        }
    }
}

/// How long ago the newest thing happened that this node knows of, at most.
///
/// # Errors
/// Those of the database.
pub(crate) async fn age(connection: &mut PgConnection) -> Result<Duration, sqlx::Error> {
    let seconds = sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM clock_timestamp() - beaten_at)::float8 AS "age!"
        FROM replication_heartbeat"#
    )
    .fetch_one(connection)
    .await?;
    Ok(Duration::from_secs_f64(seconds.max(0.0)))
}
