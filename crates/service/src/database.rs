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

/// How long a request waits for a connection before it is refused with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

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
/// # Errors
/// A migration failed, or another process held the lock for longer than [`wait::BOUND`].
pub async fn migrate(pool: &PgPool, migrator: &Migrator) -> anyhow::Result<()> {
    tokio::time::timeout(wait::BOUND, migrator.run(pool)).await??;
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
