//! Patience with a part that is away: the bank or the database.
//!
//! A message in hand is not received again, for its visibility is prolonged. So a handler keeps it
//! until the part is back instead of giving it back at once: an outage that is shorter than
//! [`AWAY`] uses up one receive, and the queue's five receives bridge five times as long. What
//! failed for another reason is told at once, and ends in the dead-letter queue if it goes on.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::bank;

/// How long a handler waits for a part that is away. With its last attempt it stays below the
/// quarter of an hour that the consumer gives it.
const AWAY: Duration = Duration::from_secs(10 * 60);
/// How long it waits for a database that is there and had no time or no lock for a statement.
pub const BUSY: Duration = Duration::from_secs(45);
/// How long one attempt may take. All that it asks has limits of its own, but those of the database
/// are kept by the database: behind a network that is cut nobody keeps them.
const ATTEMPT: Duration = Duration::from_secs(60);
/// The pause between attempts, up to twice as long: what waited does not come all at once.
const PAUSE: Duration = Duration::from_millis(500);

/// A failure of an attempt, as far as patience is concerned.
pub trait Patience {
    /// How long to go on for; `None` if waiting does not help.
    fn patience(&self) -> Option<Duration>;
}

/// Attempts until it succeeds, fails for a reason that waiting does not help, patience ends, or
/// `stop` is asked for; answers the last outcome.
///
/// # Errors
/// Those of `attempt`.
pub async fn while_away<T, E, F, Fut>(stop: &CancellationToken, attempt: F) -> Result<T, E>
where
    E: Patience + From<sqlx::Error> + std::fmt::Display,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut waited = false;
    loop {
        let failure = match timeout(ATTEMPT, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(late) => E::from(sqlx::Error::Io(late.into())),
        };
        let pause = PAUSE.mul_f64(1.0 + rand::random::<f64>());
        let goes_on = failure
            .patience()
            .is_some_and(|patience| began.elapsed() + pause <= patience);
        if stop.is_cancelled() || !goes_on {
            return Err(failure);
        }
        if !waited {
            tracing::warn!(error = %failure, "a message is kept in hand until this is over");
            waited = true;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(failure),
        }
    }
}

impl Patience for sqlx::Error {
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::PoolTimedOut | Self::WorkerCrashed | Self::Io(_) | Self::Protocol(_) => {
                Some(AWAY)
            }
            Self::Database(error) => error.code().and_then(|code| of_code(&code)),
            _ => None,
        }
    }
}

fn of_code(code: &str) -> Option<Duration> {
    match code {
        // A transaction that stood idle, a lock or a statement that took too long.
        "25P03" | "55P03" | "57014" => Some(BUSY),
        // Read only after a switch-over.
        "25006" => Some(AWAY),
        // Connection failures, no resources, stopping or starting.
        _ => ["08", "53", "57P"]
            .iter()
            .any(|class| code.starts_with(class))
            .then_some(AWAY),
    }
}

impl Patience for bank::Failure {
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Away(_) => Some(AWAY),
            Self::Unknown(_) | Self::Failed(_) | Self::Refused(..) | Self::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::payments::Failure;

    fn database() -> Failure {
        Failure::Database(sqlx::Error::PoolTimedOut)
    }

    fn bank() -> Failure {
        Failure::Bank(bank::Failure::Away("it was not reached".to_owned()))
    }

    async fn attempts(
        stop: &CancellationToken,
        fail: impl Fn(u32) -> Option<Failure>,
    ) -> (u32, Result<u32, Failure>) {
        let count = AtomicU32::new(0);
        let outcome = while_away(stop, || {
            let attempt = count.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready(fail(attempt).map_or(Ok(attempt), Err))
        })
        .await;
        (count.into_inner(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn nine_minutes_without_a_bank_or_a_database_are_one_receive() {
        for failure in [bank, database] {
            let began = Instant::now();
            let away = |_| (began.elapsed() < Duration::from_secs(9 * 60)).then(failure);
            let (_, outcome) = attempts(&CancellationToken::new(), away).await;
            assert!(outcome.is_ok(), "{outcome:?}");
            assert!(began.elapsed() <= Duration::from_secs(9 * 60) + 2 * PAUSE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_and_made_again() {
        let (began, stop, made) = (Instant::now(), CancellationToken::new(), AtomicU32::new(0));
        let outcome: Result<(), Failure> = while_away(&stop, || async {
            if made.fetch_add(1, Ordering::Relaxed) == 0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .await;
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(began.elapsed() <= ATTEMPT + 2 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let began = Instant::now();
        let (_, outcome) = attempts(&CancellationToken::new(), |_| Some(bank())).await;
        assert!(outcome.is_err());
        assert!(began.elapsed() > AWAY - 2 * PAUSE && began.elapsed() <= AWAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_it_at_once() {
        let (began, stop) = (Instant::now(), CancellationToken::new());
        let (stopped, _) = tokio::join!(attempts(&stop, |_| Some(bank())), async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stop.cancel();
        });
        assert!(stopped.1.is_err());
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_is_told_at_once() {
        let failed = || Failure::Bank(bank::Failure::Failed("it answered 500".to_owned()));
        for failure in [failed, || Failure::Inconsistent("x")] {
            let (count, outcome) = attempts(&CancellationToken::new(), |_| Some(failure())).await;
            assert!((count, outcome.is_err()) == (1, true));
        }
    }

    #[test]
    fn a_database_that_is_busy_is_waited_for_less_than_one_that_is_away() {
        assert_eq!(of_code("57P01"), Some(AWAY));
        assert_eq!(of_code("08006"), Some(AWAY));
        assert_eq!(of_code("55P03"), Some(BUSY));
        assert_eq!(of_code("23505"), None);
    }
}
