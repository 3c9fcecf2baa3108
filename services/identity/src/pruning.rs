//! Forgets idempotency keys that are older than a day, about once a minute on each replica.

use std::time::Duration;

use service::Process;
use sqlx::PgPool;
use tokio::time::timeout;
use transaction::Isolation;

/// How long one batch may take: longer than what is asked at the door.
const BATCH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a turn may take, also where the network is cut and nobody keeps the database's limits.
const PRUNE_LIMIT: Duration = Duration::from_secs(30);

/// Runs until the process drains. A failure is logged and tried again at the next turn.
pub(crate) async fn forever(accounts: PgPool, process: Process) -> anyhow::Result<()> {
    loop {
        // Jitter keeps replicas that started together from pruning together.
        let pause = Duration::from_secs(45) + Duration::from_secs(30).mul_f64(rand::random());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = process.draining() => return Ok(()),
        }
        // What is left is forgotten at the next turn.
        let pruned = timeout(PRUNE_LIMIT, prune(&accounts)).await;
        match pruned.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()))) {
            Ok(0) => {}
            Ok(keys) => tracing::info!(keys, "old idempotency keys forgotten"),
            Err(error) => tracing::warn!(%error, "old idempotency keys could not be forgotten"),
        }
    }
}

async fn prune(accounts: &PgPool) -> Result<u64, sqlx::Error> {
    let mut all = 0;
    loop {
        // Read committed: what is old stays old.
        let some = transaction::run(
            accounts,
            "prune_keys",
            Isolation::ReadCommitted,
            |mut tx| async move {
                tx.statement_timeout(BATCH_TIMEOUT).await?;
                let some = idempotency::prune(&mut tx).await?;
                tx.done::<_, sqlx::Error>(some)
            },
        )
        .await?;
        all += some;
        if some == 0 {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn keys_older_than_a_day_are_forgotten_and_younger_ones_kept(pool: PgPool) {
        sqlx::query(
            "INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
             SELECT gen_random_uuid(), 'o', n::text, '', clock_timestamp() - n * interval '1 hour'
             FROM generate_series(1, 2500) AS n",
        )
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(prune(&pool).await.unwrap(), 2477);
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM idempotency_keys")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(left, 23);
    }
}
