//! Patience with a database that is away.
//!
//! A message in hand is not received again, for its visibility is prolonged. So a handler waits a
//! while for the database to come back instead of giving the message back at once: an outage that
//! is shorter than that uses up one receive, and does not carry good messages to the dead-letter
//! queue.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a handler waits.
const PATIENCE: Duration = Duration::from_secs(45);
/// The pause between attempts, up to twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Why an attempt failed, as far as patience is concerned.
pub trait Away {
    /// The failure of the database, if it was that.
    fn database(&self) -> Option<&sqlx::Error>;
}

/// Attempts until it succeeds, fails for another reason than that the database is away, patience
/// ends, or `stop` is asked for; answers the last outcome.
///
/// # Errors
/// Those of `attempt`.
pub async fn while_away<T, E, F, Fut>(stop: &CancellationToken, attempt: F) -> Result<T, E>
where
    E: Away + std::fmt::Display,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failure = match attempt().await {
            Err(failure) if failure.database().is_some_and(is_away) => failure,
            outcome => return outcome,
        };
        let pause = PAUSE.mul_f64(1.0 + rand::random::<f64>());
        if stop.is_cancelled() || Instant::now() + pause > deadline {
            return Err(failure);
        }
        tracing::debug!(error = %failure, "waiting for the database");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(failure),
        }
    }
}

/// Whether the same may well succeed a moment later.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_) => true,
        // Connection failures, no resources, stopping or starting, read only after a switch-over,
        // a transaction that stood idle, a lock or a statement that took too long.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
                || matches!(&*code, "25006" | "25P03" | "55P03" | "57014")
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::payments::Failure;

    async fn attempts(fail: impl Fn(u32) -> Option<Failure>) -> (u32, Result<u32, Failure>) {
        let count = AtomicU32::new(0);
        let outcome = while_away(&CancellationToken::new(), || {
            let attempt = count.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready(fail(attempt).map_or(Ok(attempt), Err))
        })
        .await;
        (count.into_inner(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_comes_back_is_waited_for() {
        let away = |attempt| (attempt < 20).then_some(Failure::Database(sqlx::Error::PoolTimedOut));
        assert!(matches!(attempts(away).await, (20, Ok(20))));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let began = Instant::now();
        let away = |_| Some(Failure::Database(sqlx::Error::PoolTimedOut));
        assert!(attempts(away).await.1.is_err());
        assert!(began.elapsed() <= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn another_failure_is_told_at_once() {
        let (count, outcome) = attempts(|_| Some(Failure::Inconsistent("x"))).await;
        assert!((count, outcome.is_err()) == (1, true));
    }
}
