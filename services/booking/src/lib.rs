//! `booking`: seats, holds that expire, orders, cancellations, the door, the ledger.
//!
//! It owns the Postgres database `booking`. Its back office, the service `worker`, works on the
//! same database with a role of its own: it takes the payments that orders ask for through the
//! outbox, renders the tickets and tidies up. Nothing here waits for anything remote but Postgres.
//!
//! What this promises: no seat is sold twice; a request that was acknowledged is committed; one
//! `Idempotency-Key` has at most one effect. What it leaves to others: who asks (Nginx and
//! `identity`), money (`worker` and `bank`).
//!
//! # Lock order
//!
//! Every transaction that writes takes its locks in this order, in this service and in `worker`:
//!
//! 1. the idempotency key,
//! 2. the order,
//! 3. the hold,
//! 4. outbox rows, and the counter of their group,
//! 5. seats, by id.
//!
//! A seat is waited for only by the transaction that has locked the seat's hold or order, so two
//! transactions never wait for each other's seats. Placing a hold, which has neither, skips every
//! seat that is locked. The one step out of line is an order's first outbox row, written after its
//! seats: its group begins with it, so nobody else can have locked it.
//!
//! The event comes before all of these for pruning, which locks it against whoever points a new
//! hold or order at it. Those have judged by then that the event is still ahead, and pruning looks
//! only at events that began hours ago: the two do not meet.
//!
//! An account holds seats of an event one request at a time: placing a hold takes an advisory lock on
//! the two, after the key and before any seat, so that what the account has is counted and added to
//! without a gap. It only tries that lock, so nobody waits for it.
//!
//! Time is judged after locks are had: `clock_timestamp()` stands in a statement of its own or
//! outside a materialised `FOR UPDATE`, because Postgres evaluates the columns of a locking
//! `SELECT` before it waits.

mod app;
mod cursor;
#[cfg(test)]
mod fixture;
mod holds;
mod metrics;
mod orders;
mod overview;
mod reply;
mod routes;
mod seats;
mod settings;
mod text;
mod ticket_code;
mod trace_context;

use std::sync::Arc;
use std::time::Duration;

use service::database::{self, Timeouts};
use service::{Doors, Process, callers, health::Readiness};
use sqlx::migrate::Migrator;

use overview::Overview;
pub use settings::Settings;

/// The database's history, run at start under a lock by whichever replica comes first.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a write may take: each is one short transaction. A hold lasts while its order is tried
/// again, so whoever is handed to a replica that hangs must find out soon; Nginx gives up after
/// 1.6 s (`deploy/nginx/conf/write.conf`).
const WRITE_TIMEOUT: Duration = Duration::from_millis(1200);

/// How long requests wait for the database: less, all together, than a write may take. So whoever
/// met another one at the same rows is told so (409), and not that something is away (503).
const TIMEOUTS: Timeouts = Timeouts {
    acquire: Duration::from_millis(500),
    lock: Duration::from_millis(500),
    statement: Duration::from_millis(600),
};

/// How long a statement may take that is asked for from inside, where nobody stands at the door: all
/// seats of a hall are made in one, and checkers read all of an event, or of the ledger.
const LONG_STATEMENT: Duration = Duration::from_secs(3);

/// Makes what the process is made of: the pool, the migrated database, the routes.
///
/// # Errors
/// Postgres was not there in time, or a migration failed.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    metrics::register();
    let pool = database::open(&settings.database, TIMEOUTS, &process).await?;
    database::migrate(&pool, &MIGRATIONS, &process).await?;
    let readiness = database::readiness(Readiness::new(), &pool);
    process.spawn(
        "replication heartbeat",
        overview::heartbeat::beat(pool.clone(), process.clone()),
    );
    let overview = Overview::new(
        pool.clone(),
        &settings.standbys_host,
        settings.standbys_port,
    );
    let app = app::App {
        pool,
        overview: Arc::new(overview),
        hold_for: Duration::from_secs(settings.hold_seconds.into()),
        seats_per_account: settings.seats_per_account,
        ticket_key: settings.ticket_public_key_file,
    };
    Ok(Doors {
        public: callers::only(&settings.nginx_key_file, routes::public(app.clone())),
        internal: callers::only(&settings.catalog_key_file, routes::seating(app.clone()))
            .merge(callers::only(&settings.crowd_key_file, routes::books(app))),
        readiness,
        request_timeout: WRITE_TIMEOUT,
    })
}

#[cfg(test)]
mod tests {
    use messages::seating::PUT_TIMEOUT;
    use service::http::{READ_TIMEOUT, REQUEST_TIMEOUT};

    use super::*;

    #[test]
    fn whatever_a_request_waits_for_is_given_up_before_the_request() {
        assert!(TIMEOUTS.lock < TIMEOUTS.statement);
        let query = TIMEOUTS.acquire + TIMEOUTS.statement;
        assert!(query < WRITE_TIMEOUT && query < READ_TIMEOUT, "{query:?}");
        // An event may be put by two at once, and then its seats are inserted.
        let seating = TIMEOUTS.acquire + TIMEOUTS.lock + LONG_STATEMENT;
        assert!(seating < PUT_TIMEOUT, "{seating:?}");
        assert!(PUT_TIMEOUT < REQUEST_TIMEOUT);
    }

    #[test]
    fn nginx_waits_longer_than_a_write_takes() {
        let file = "/../../deploy/nginx/conf/write.conf";
        let path = format!("{}{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let value = text.split("proxy_read_timeout ").nth(1).unwrap();
        let (number, _) = value.split_once("ms;").unwrap();
        assert!(WRITE_TIMEOUT < Duration::from_millis(number.parse().unwrap()));
    }
}
