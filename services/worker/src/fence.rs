//! The leader's fence: a token that only ever grows, minted and checked in the database that the
//! leader's effects go to.
//!
//! Each effect checks and stores its token in its own transaction. The check locks the fence's row
//! against minting, so an effect and the mint of a greater token happen one after the other: a
//! leader that was overtaken is refused, and one that is not yet overtaken is finished first.
//!
//! The fence holds the greatest token before its leader begins, so older ones are refused from then
//! on and not only after its first effect. What a task stores with an effect says whose it was, and
//! the database never lets that go back.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, register_int_counter_vec};
use sqlx::{PgConnection, PgPool};
use transaction::Isolation;

/// Why a leader's transaction had no effect.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another leader's token is greater.
    #[error("refused by the fencing token")]
    Refused,
    /// The database refused or was away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes a token that is greater than all before it.
///
/// # Errors
/// The database refused or was away; the token is then lost, which harms nobody.
pub async fn mint(pool: &PgPool, holder: &str) -> Result<i64, sqlx::Error> {
    // Read committed: the fence's only row is locked by the update that reads it.
    transaction::run(
        pool,
        "mint token",
        Isolation::ReadCommitted,
        |mut tx| async move {
            let token = sqlx::query_scalar!(
                "UPDATE leader_fence
            SET token = token + 1, holder = $1, minted_at = clock_timestamp()
            RETURNING token",
                holder,
            )
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query!(
                "INSERT INTO leader_terms (token, holder) VALUES ($1, $2)",
                token,
                holder
            )
            .execute(&mut *tx)
            .await?;
            tx.done(token)
        },
    )
    .await
}

/// Checks that no greater token was minted, and keeps it so until the transaction ends.
///
/// # Errors
/// [`Failure::Refused`], or the database failed.
pub async fn check(tx: &mut PgConnection, token: i64) -> Result<(), Failure> {
    sqlx::query_scalar!(
        "SELECT token FROM leader_fence WHERE token = $1 FOR SHARE",
        token
    )
    .fetch_optional(tx)
    .await?
    .map(|_| ())
    .ok_or(Failure::Refused)
}

/// Stores the token with an effect of `task`.
///
/// # Errors
/// The database was away, or a greater token is stored.
pub async fn store(tx: &mut PgConnection, task: &str, token: i64) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO leader_tasks (task, fence_token, runs, last_effect_at)
        VALUES ($1, $2, 1, clock_timestamp())
        ON CONFLICT (task) DO UPDATE SET fence_token = excluded.fence_token,
            runs = leader_tasks.runs + 1, last_effect_at = excluded.last_effect_at",
        task,
        token,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Shows the count of refusals of `task` before there is one.
pub fn show(task: &'static str) {
    REFUSALS.with_label_values(&[task]);
}

/// Counts and logs that `task` was refused.
pub fn refused(task: &'static str, token: i64) {
    REFUSALS.with_label_values(&[task]).inc();
    tracing::warn!(
        task.name = task,
        leader.token = token,
        "refused by the fencing token"
    );
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static REFUSALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "leader_fence_refusals_total",
        "Writes of an overtaken leader that were refused by the fencing token, by task.",
        &["task"]
    )
    .expect("metric names are unique")
});
