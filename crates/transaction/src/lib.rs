//! Named Postgres transactions.
//!
//! Every transaction has a name and a chosen isolation level. The name is the label of its
//! metrics; the isolation is stated where the transaction is written, next to the reason.
//! Serialisation failures (`40001`) and deadlocks (`40P01`) are repeated here and nowhere else,
//! with a jittered pause and a limit.
//!
//! What this promises: a transaction is repeated only while its failure is definite. Once
//! `COMMIT` was sent nothing is repeated, because an answer that got lost may belong to a commit
//! that took effect; the caller's idempotency key finds out. What it leaves to others: which
//! error a client sees.

use std::error::Error as StdError;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};
use sqlx::{PgConnection, PgPool, Postgres};

/// How often a transaction is begun at most before its failure is handed to the caller.
pub const MAX_ATTEMPTS: u32 = 5;

/// The isolation level of a transaction, in the words of the SQL standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it began. Right where the rows that decide
    /// are locked before they are read.
    ReadCommitted,
    /// All statements see one snapshot. Right for a read of several tables that must fit together.
    RepeatableRead,
    /// As if transactions ran one after another. Right where a decision rests on rows that are
    /// read without a lock.
    Serializable,
}

impl Isolation {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

/// A transaction under way. Dropping it rolls it back.
#[derive(Debug)]
pub struct Tx(sqlx::Transaction<'static, Postgres>);

impl Tx {
    /// Ends a transaction's body: commit, then hand `value` to the caller.
    ///
    /// # Errors
    /// None of its own; the `Result` lets it stand as the last line of a body.
    pub fn done<T, E>(self, value: T) -> Result<(Self, T), E> {
        Ok((self, value))
    }

    /// Lets each statement that follows in this transaction take so long, whatever its connection
    /// allows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn statement_timeout(&mut self, limit: Duration) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(format!("{}ms", limit.as_millis()))
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

static SECONDS: LazyLock<HistogramVec> =
    LazyLock::new(|| {
        #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "transaction_seconds",
        "Duration of a database transaction from its first BEGIN to its end, by name and outcome.",
        &["transaction", "outcome"],
        vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]
    )
    .expect("metric names are unique");
        metric
    });

static RETRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "transaction_retries_total",
        "Transactions begun again after a serialisation failure or a deadlock, by name.",
        &["transaction"]
    )
    .expect("metric names are unique");
    metric
});

/// Runs `body` in a transaction called `name` and commits it.
///
/// The body takes the transaction and hands it back with its result by [`Tx::done`]; a body that
/// fails drops it, which rolls back. It may be called up to [`MAX_ATTEMPTS`] times, so it must
/// have no effect outside the database.
///
/// # Errors
/// Whatever the body fails with, and failures of `BEGIN` and `COMMIT` as `E::from`.
pub async fn run<T, E, F, Fut>(
    pool: &PgPool,
    name: &'static str,
    isolation: Isolation,
    mut body: F,
) -> Result<T, E>
where
    E: From<sqlx::Error> + StdError + 'static,
    F: FnMut(Tx) -> Fut,
    Fut: Future<Output = Result<(Tx, T), E>>,
{
    let started = Instant::now();
    let mut attempt = 1;
    let result = loop {
        let begun = pool.begin_with(isolation.begin()).await;
        let failure = match begun {
            Err(error) => E::from(error),
            Ok(transaction) => match body(Tx(transaction)).await {
                Ok((tx, value)) => break tx.0.commit().await.map(|()| value).map_err(E::from),
                Err(error) => error,
            },
        };
        if attempt == MAX_ATTEMPTS || !may_repeat(&failure) {
            break Err(failure);
        }
        RETRIES.with_label_values(&[name]).inc();
        tracing::debug!(transaction = name, attempt, error = %failure, "transaction begins again");
        tokio::time::sleep(pause(attempt, rand::random())).await;
        attempt += 1;
    };
    let outcome = if result.is_ok() {
        "committed"
    } else {
        "failed"
    };
    SECONDS
        .with_label_values(&[name, outcome])
        .observe(started.elapsed().as_secs_f64());
    result
}

/// Full jitter: anywhere between nothing and a ceiling that doubles with each attempt.
fn pause(attempt: u32, random: u16) -> Duration {
    let ceiling = Duration::from_millis(5) * 2_u32.saturating_pow(attempt.min(6));
    ceiling.mul_f64(f64::from(random) / f64::from(u16::MAX))
}

/// Whether the database itself said that the transaction had no effect and may be begun again.
fn may_repeat(failure: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(failure);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(database)) = error.downcast_ref::<sqlx::Error>() {
            return matches!(database.code().as_deref(), Some("40001" | "40P01"));
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_never_exceeds_its_ceiling_and_grows_with_the_attempt() {
        assert_eq!(pause(1, u16::MAX), Duration::from_millis(10));
        assert_eq!(pause(4, u16::MAX), Duration::from_millis(80));
        assert_eq!(pause(40, u16::MAX), Duration::from_millis(320));
        assert_eq!(pause(4, 0), Duration::ZERO);
    }

    #[test]
    fn only_a_definite_failure_is_repeated() {
        assert!(!may_repeat(&sqlx::Error::PoolTimedOut));
        assert!(!may_repeat(&sqlx::Error::RowNotFound));
    }
}
