//! A process's own Postgres database: settings, pool, migrations.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::time::timeout;

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

/// How long a process waits for its database. What it serves at a door has limits of its own
/// ([`crate::http`]): where these are shorter, together, a client is told what was missing.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection of the pool; then the request is refused with 503.
    pub acquire: Duration,
    /// For a lock; then the request is refused with 409. Shorter than a statement may take, which
    /// would be cut off first otherwise, and say 503.
    pub lock: Duration,
    /// For a statement, its waits for locks included; then the request is refused with 503. What a
    /// commit waits for is not counted by Postgres.
    pub statement: Duration,
}

impl Default for Timeouts {
    /// For work that nobody stands at a door for, such as batches.
    fn default() -> Self {
        Self {
            acquire: Duration::from_secs(1),
            lock: Duration::from_secs(2),
            statement: Duration::from_secs(3),
        }
    }
}

impl Timeouts {
    /// What a connection is told of them. A transaction may stand idle for 1 s, so that a process
    /// that was paused blocks nobody.
    #[must_use]
    pub fn options(&self) -> [(&'static str, String); 3] {
        let text = |timeout: Duration| format!("{}ms", timeout.as_millis());
        [
            ("statement_timeout", text(self.statement)),
            ("lock_timeout", text(self.lock)),
            ("idle_in_transaction_session_timeout", "1s".to_owned()),
        ]
    }
}

/// How long a connection that comes back may take to say that it is well, until it is closed. That is
/// longer than commits wait for a standby after a switch: closed any earlier, they would be kept by
/// Postgres beside the connections that come in their place.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long after its last use a connection is handed out without asking it.
const BELIEVED_ALIVE_FOR: Duration = Duration::from_millis(500);

/// Opens the pool, waiting for Postgres with a bound.
///
/// # Errors
/// Postgres was not there within [`wait::BOUND`].
pub async fn open(
    settings: &DatabaseSettings,
    timeouts: Timeouts,
    process: &Process,
) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.database_host)
        .port(settings.database_port)
        .database(&settings.database_name)
        .username(&settings.database_user)
        .password(settings.database_password_file.reveal())
        .ssl_mode(PgSslMode::Disable)
        .application_name(&settings.database_user)
        .options(timeouts.options());
    let pool = pool_options()
        .min_connections(1)
        .max_connections(settings.database_pool)
        .acquire_timeout(timeouts.acquire)
        .idle_timeout(Duration::from_secs(60))
        .after_connect(|connection, _| Box::pin(takes_writes(connection)))
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

/// Refuses a connection that takes no writes; a pool closes it and connects again, until the limit of
/// its wait for a connection.
///
/// The proxy in front of Postgres can lead a new connection to a standby: HAProxy 3.0 treats a server
/// as up from the moment that its name resolves until its first health check fails
/// (haproxy/haproxy#51). A standby answers reads from the past. libpq has the same check as
/// `target_session_attrs=read-write`. It does not find a former primary that was paused or cut off and
/// takes no commits any more: what a read decides is therefore judged again in the transaction that
/// writes.
///
/// # Errors
/// The node takes no writes, or does not answer within [`RELEASE_TIMEOUT`].
pub async fn takes_writes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let ask = sqlx::query_scalar("SHOW transaction_read_only").fetch_one(connection);
    let answered = timeout(RELEASE_TIMEOUT, ask).await;
    let read_only: String = answered.map_err(|late| sqlx::Error::Io(late.into()))??;
    if read_only == "off" {
        return Ok(());
    }
    Err(sqlx::Error::Io(std::io::Error::other(
        "this node takes no writes",
    )))
}

/// Options of a pool that closes a connection which comes back and does not answer, or is inside a
/// transaction. By itself a pool pings each one and waits for that as long as it takes: behind a network
/// that is cut it would keep its place for ever.
#[must_use]
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().after_release(|connection, _| {
        Box::pin(async move {
            let answered = timeout(RELEASE_TIMEOUT, is_outside_a_transaction(connection)).await;
            answered.map_err(|late| sqlx::Error::Io(late.into()))?
        })
    })
}

/// Whether a connection is outside a transaction; an error inside one that has failed.
///
/// sqlx 0.9.0 sends no ROLLBACK where its caller is dropped while BEGIN is under way, as a request is
/// whose time is up (launchbadge/sqlx#4393), and the pool does not see that a transaction is open. The
/// next statements would run inside it, take effect with some later COMMIT or never, and all fail after
/// the first that does.
///
/// A statement outside a transaction begins one of its own, so the two clocks are the same. In the
/// extended protocol they are not: PARSE begins the transaction, and BIND the statement.
async fn is_outside_a_transaction(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let ask = sqlx::raw_sql("SELECT transaction_timestamp() = statement_timestamp()");
    ask.fetch_one(connection).await?.try_get(0)
}

/// How long a migration waits for a lock before it is tried again. Requests that need the table queue
/// behind a migration that waits for it, so it waits not much longer than they do. The lock that keeps
/// replicas from migrating together is tried again until another's migrations are done.
const MIGRATION_LOCK: Duration = Duration::from_secs(1);

/// How long the connection for migrations waits for a node that takes writes, before that is tried
/// again.
const MIGRATION_CONNECT: Duration = Duration::from_secs(5);

/// Brings the database to the newest migration that this program knows; replicas that start together
/// wait for one lock.
///
/// A database may be newer than the program: after a rollback, or while a rolling upgrade replaces
/// the replicas. Migrations expand before they contract, so migrations that the program does not know
/// are accepted. One that it knows and that was altered since it was applied is refused.
///
/// The connection is not the pool's, because the limits of requests do not fit: a migration may take
/// as long as it takes. Until the primary takes writes, and where it is lost in the middle, all is
/// tried again: each migration commits together with the record of it.
///
/// # Errors
/// A migration failed or was altered, or Postgres took no writes within [`wait::BOUND`].
pub async fn migrate(pool: &PgPool, migrator: &Migrator, process: &Process) -> anyhow::Result<()> {
    let mut known = Migrator::with_migrations(migrator.iter().cloned().collect());
    known.set_ignore_missing(true);
    // What is named last counts.
    let options = pool.connect_options().as_ref().clone().options([
        ("statement_timeout", "0".to_owned()),
        ("lock_timeout", format!("{}s", MIGRATION_LOCK.as_secs())),
    ]);
    wait::until_done(process, "migrations", may_pass, || {
        run(&known, options.clone())
    })
    .await
}

async fn run(known: &Migrator, options: PgConnectOptions) -> Result<(), MigrateError> {
    let single = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(MIGRATION_CONNECT)
        .after_connect(|connection, _| Box::pin(takes_writes(connection)))
        .connect_with(options)
        .await?;
    known.run(&single).await?;
    single.close().await;
    Ok(())
}

/// Whether another attempt can succeed: there is no primary yet, it was lost, or another replica
/// holds the lock.
fn may_pass(failure: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = failure else {
        return false;
    };
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // No writes here, no connection left, no lock in time; then connection exceptions, and a
            // server that stops or starts.
            matches!(&*code, "25006" | "53300" | "55P03")
                || code.starts_with("08")
                || code.starts_with("57P")
        }),
        _ => false,
    }
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
    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A pool of the same database whose statements and waits for locks are limited.
    fn hurried(pool: &PgPool, lock: u64, statement: u64) -> PgPool {
        let timeouts = Timeouts {
            lock: Duration::from_millis(lock),
            statement: Duration::from_millis(statement),
            ..Timeouts::default()
        };
        let options = pool.connect_options().as_ref().clone();
        PgPoolOptions::new().connect_lazy_with(options.options(timeouts.options()))
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_connection_that_takes_no_writes_is_refused(pool: PgPool) {
        let options = pool.connect_options().as_ref().clone();
        let read_only = options.options([("default_transaction_read_only", "on")]);
        let mut connection = PgConnection::connect_with(&read_only).await.unwrap();
        assert!(takes_writes(&mut connection).await.is_err());
        takes_writes(&mut pool.acquire().await.unwrap())
            .await
            .unwrap();
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_transaction_whose_begin_was_dropped_is_not_left_to_others(pool: PgPool) {
        // A pool of sqlx alone shows the fault. Once it does not, ours need not look.
        for (pool_options, is_safe) in [(PgPoolOptions::new(), false), (pool_options(), true)] {
            for statement in ["SELECT 1", "SELECT 1 / 0"] {
                let options = pool.connect_options().as_ref().clone();
                let single = pool_options.clone().max_connections(1);
                let pool = single.connect_lazy_with(options);
                let mut connection = pool.acquire().await.unwrap();
                let begin = connection.begin_with("BEGIN; SELECT pg_sleep(0.5)");
                let is_dropped = timeout(Duration::from_millis(100), begin).await.is_err();
                assert!(is_dropped, "it had begun");
                let _ = connection.execute(statement).await;
                drop(connection);
                let mut next = pool.acquire().await.unwrap();
                let is_outside = is_outside_a_transaction(&mut next).await.unwrap_or(false);
                assert_eq!(is_outside, is_safe, "{statement}");
            }
        }
    }

    fn code(error: sqlx::Error) -> Option<String> {
        let error = error.into_database_error()?;
        Some(error.code()?.into_owned())
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_lock_is_given_up_before_its_statement(pool: PgPool) {
        let lock = "SELECT pg_advisory_xact_lock(1)";
        let mut other = pool.begin().await.unwrap();
        sqlx::query(lock).execute(&mut *other).await.unwrap();
        let hurried = hurried(&pool, 500, 3_000);
        let late = hurried.execute(lock).await.unwrap_err();
        assert_eq!(code(late).as_deref(), Some("55P03"), "lock not available");
        let slow = hurried.execute("SELECT pg_sleep(10)").await.unwrap_err();
        assert_eq!(code(slow).as_deref(), Some("57014"), "cancelled");
    }

    /// The migration with this number.
    fn migration(number: i64, sql: &'static str) -> Migration {
        let kind = MigrationType::Simple;
        Migration::new(number, "a test".into(), kind, sql.into_sql_str(), false)
    }

    fn migrator(migrations: &[Migration]) -> Migrator {
        Migrator::with_migrations(migrations.to_vec())
    }

    fn slow() -> Migrator {
        migrator(&[migration(1, "SELECT pg_sleep(3); CREATE TABLE made ();")])
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_migration_takes_as_long_as_it_takes_and_replicas_wait_for_it(pool: PgPool) {
        // Less than a migration takes, and much more than a quick statement does.
        let hurried = hurried(&pool, 1_000, 1_000);
        let cut = hurried.execute("SELECT pg_sleep(3)").await;
        assert!(cut.is_err(), "a request would be cut off");
        let (first, second) = (slow(), slow());
        let process = Process::new();
        let (first, second) = tokio::join!(
            migrate(&hurried, &first, &process),
            migrate(&hurried, &second, &process)
        );
        first.unwrap();
        second.unwrap();
        hurried.execute("SELECT FROM made").await.unwrap();
    }

    /// As HAProxy does while there is no primary: connections are accepted and closed, the first few
    /// of them; those after them are passed to the server.
    async fn proxy(closed: u32, server: String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut accepted = 0;
            while let Ok((mut client, _)) = listener.accept().await {
                accepted += 1;
                if accepted <= closed {
                    continue;
                }
                let mut server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
        port
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn migrations_wait_for_a_primary_behind_a_proxy_that_has_none_yet(pool: PgPool) {
        let direct = pool.connect_options().as_ref().clone();
        let server = format!("{}:{}", direct.get_host(), direct.get_port());
        let port = proxy(3, server).await;
        let proxied = PgPoolOptions::new().connect_lazy_with(direct.host("127.0.0.1").port(port));
        let made = migrator(&[migration(1, "CREATE TABLE made ();")]);
        migrate(&proxied, &made, &Process::new()).await.unwrap();
        pool.execute("SELECT FROM made").await.unwrap();
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn migrations_are_tried_again_on_a_node_that_takes_no_writes_and_not_after_a_mistake(
        pool: PgPool,
    ) {
        // A sequence is not rolled back.
        pool.execute("CREATE SEQUENCE tries").await.unwrap();
        let read_only = migrator(&[migration(
            1,
            "DO $$ BEGIN
                IF nextval('tries') < 3 THEN
                    RAISE EXCEPTION 'no writes here' USING ERRCODE = 'read_only_sql_transaction';
                END IF;
            END $$;
            CREATE TABLE made ();",
        )]);
        let process = Process::new();
        migrate(&pool, &read_only, &process).await.unwrap();
        pool.execute("SELECT FROM made").await.unwrap();
        let mistake = migrator(&[migration(2, "SELECT nextval('tries') FROM missing;")]);
        migrate(&pool, &mistake, &process).await.unwrap_err();
        let tries: i64 = sqlx::query_scalar("SELECT last_value FROM tries")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(tries, 3);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn an_older_program_accepts_migrations_that_it_does_not_know_and_refuses_altered_ones(
        pool: PgPool,
    ) {
        let process = Process::new();
        let first = migration(1, "CREATE TABLE made ();");
        let second = migration(2, "ALTER TABLE made ADD COLUMN added text;");
        let newer = migrator(&[first.clone(), second]);
        migrate(&pool, &newer, &process).await.unwrap();
        let older = migrator(&[first]);
        migrate(&pool, &older, &process).await.unwrap();
        let altered = migrator(&[migration(1, "CREATE TABLE made (altered text);")]);
        let refused = migrate(&pool, &altered, &process).await.unwrap_err();
        let reason = refused.downcast_ref::<MigrateError>();
        let is_altered = matches!(reason, Some(MigrateError::VersionMismatch(1)));
        assert!(is_altered, "{refused:#}");
    }
}
