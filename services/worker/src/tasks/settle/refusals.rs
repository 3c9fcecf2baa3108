//! Payouts that the bank refused for good: how long an event waits before its money is asked for
//! anew, and what people see of it.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// After how many refusals in a row an event waits for the longer time.
pub(super) const IN_A_ROW: i64 = 3;
/// How long an event waits after a refusal.
pub(super) const PAUSE: Duration = Duration::from_secs(3600);
/// How long it waits after [`IN_A_ROW`] of them: till the next day.
pub(super) const LONG_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// How many events wait for the next day, because the bank refused their payouts so often.
///
/// # Errors
/// The database was away.
pub async fn stopped(database: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM settlement_refusals
        WHERE in_a_row >= $1 AND last_at > clock_timestamp() - make_interval(secs => $2)"#,
        IN_A_ROW,
        LONG_PAUSE.as_secs_f64(),
    )
    .fetch_one(database)
    .await
}

/// How often in a row the payouts of an event were refused.
pub(super) async fn in_a_row(tx: &mut PgConnection, event: Uuid) -> Result<i64, sqlx::Error> {
    let refused = sqlx::query_scalar!(
        r#"SELECT in_a_row AS "in_a_row!" FROM settlement_refusals WHERE event_id = $1"#,
        event,
    )
    .fetch_optional(tx)
    .await?;
    Ok(refused.unwrap_or(0))
}
