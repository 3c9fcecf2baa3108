//! A process's own Postgres database: settings, pool, migrations.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgPool};

use crate::health::Readiness;
use crate::{Process, Secret, wait};

/// Where the database is and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseSettings {
    /// Host name of Postgres.
    #[arg(long, env = "DATABASE_HOST")]
    pub database_host: String,
    /// Port of Postgres.
    #[arg(long, env = "DATABASE_PORT", default_value_t = 5432)]
    pub database_port: u16,
    /// Name of the database.
    #[arg(long, env = "DATABASE_NAME")]
    pub database_name: String,
    /// Role to connect as.
    #[arg(long, env = "DATABASE_USER")]
    pub database_user: String,
    /// File with the role's password.
    #[arg(long, env = "DATABASE_PASSWORD_FILE")]
    pub database_password_file: Secret,
    /// Most connections this process opens.
    #[arg(long, env = "DATABASE_POOL", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=50))]
    pub database_pool: u32,
}

/// How long a request waits for a connection before it is refused with 503; less than a read may
/// take, so that it is told what was missing.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);

/// For how long after its last use a connection is handed out without asking it.
const BELIEVED_ALIVE_FOR: Duration = Duration::from_millis(500);

/// Opens the pool, waiting for Postgres with a bound.
///
/// Statements are limited to 3 s, waits for a lock to 2 s, and a transaction may stand idle for
/// 1 s, so that a process that was paused blocks nobody.
///
/// # Errors
/// Postgres was not there within [`wait::BOUND`].
pub async fn open(settings: &DatabaseSettings, process: &Process) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.database_host)
        .port(settings.database_port)
        .database(&settings.database_name)
        .username(&settings.database_user)
        .password(settings.database_password_file.reveal())
        .ssl_mode(PgSslMode::Disable)
        .application_name(&settings.database_user)
        .options([
            ("statement_timeout", "3s"),
            ("lock_timeout", "2s"),
            ("idle_in_transaction_session_timeout", "1s"),
        ]);
    let pool = PgPoolOptions::new()
        .min_connections(1)
        .max_connections(settings.database_pool)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_secs(60))
        // A connection that was used a moment ago is believed to be alive: a ping before every
        // transaction would be a round trip for nothing. One that stood idle is asked first.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > BELIEVED_ALIVE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options);
    wait::until_ready(process, "postgres", || {
        sqlx::query("SELECT 1").execute(&pool)
    })
    .await?;
    observe(pool.clone(), process);
    Ok(pool)
}

/// Brings the database to the newest migration; replicas that start together wait for one lock.
///
/// It has a connection of its own, because the limits of requests are not its: a migration may take
/// as long as it takes, and who waits for another's does so for [`wait::BOUND`] before it is started
/// again. The table locks that a migration needs are had sooner: what holds them are transactions
/// of requests, and those are limited.
///
/// # Errors
/// A migration failed, or a lock was held by others for longer than [`wait::BOUND`].
pub async fn migrate(pool: &PgPool, migrator: &Migrator) -> anyhow::Result<()> {
    // What is named last counts.
    let options = pool.connect_options().as_ref().clone().options([
        ("statement_timeout", "0".to_owned()),
        ("lock_timeout", format!("{}s", wait::BOUND.as_secs())),
    ]);
    let single = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    migrator.run(&single).await?;
    single.close().await;
    Ok(())
}

/// Adds the pool to what readiness needs.
#[must_use]
pub fn readiness(readiness: Readiness, pool: &PgPool) -> Readiness {
    let pool = pool.clone();
    readiness.needs("postgres", move || {
        let pool = pool.clone();
        async move {
            sqlx::query("SELECT 1").execute(&pool).await?;
            Ok(())
        }
    })
}

/// Shows the pool's use as gauges, once a second.
fn observe(pool: PgPool, process: &Process) {
    let process_ = process.clone();
    process.spawn("pool gauges", async move {
        let gauge = prometheus::register_int_gauge_vec!(
            "database_pool_connections",
            "Connections of the pool by state.",
            &["state"]
        )?;
        let limit = prometheus::register_int_gauge!(
            "database_pool_connections_limit",
            "Most connections the pool opens."
        )?;
        limit.set(i64::from(pool.options().get_max_connections()));
        loop {
            let idle = i64::try_from(pool.num_idle())?;
            gauge.with_label_values(&["idle"]).set(idle);
            gauge
                .with_label_values(&["used"])
                .set(i64::from(pool.size()).saturating_sub(idle));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = process_.draining() => return Ok(()),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::{Migration, MigrationType};
    use sqlx::{Executor, SqlSafeStr};

    use super::*;

    /// A pool of the same database whose statements and waits for locks are limited to 100 ms.
    fn hurried(pool: &PgPool) -> PgPool {
        let options = pool.connect_options().as_ref().clone();
        PgPoolOptions::new().connect_lazy_with(
            options.options([("statement_timeout", "100ms"), ("lock_timeout", "100ms")]),
        )
    }

    fn slow() -> Migrator {
        let sql = "SELECT pg_sleep(0.3); CREATE TABLE made ();".into_sql_str();
        let kind = MigrationType::Simple;
        Migrator::with_migrations(vec![Migration::new(1, "slow".into(), kind, sql, false)])
    }

    #[sqlx::test]
    async fn a_migration_takes_as_long_as_it_takes_and_replicas_wait_for_it(pool: PgPool) {
        let hurried = hurried(&pool);
        let cut = hurried.execute("SELECT pg_sleep(0.3)").await;
        assert!(cut.is_err(), "a request would be cut off");
        let (first, second) = (slow(), slow());
        let (first, second) = tokio::join!(migrate(&hurried, &first), migrate(&hurried, &second));
        first.unwrap();
        second.unwrap();
        hurried.execute("SELECT FROM made").await.unwrap();
    }
}
