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

use service::{Doors, Process, database, health::Readiness};
use sqlx::migrate::Migrator;

use overview::Overview;
pub use settings::Settings;

/// The database's history, run at start under a lock by whichever replica comes first.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a write may take: each is one short transaction. A hold lasts while its order is tried
/// again, so whoever is handed to a replica that hangs must find out soon; Nginx gives up after
/// 1.6 s (`deploy/nginx/conf/write.conf`).
const WRITE_TIMEOUT: Duration = Duration::from_millis(1200);

/// Makes what the process is made of: the pool, the migrated database, the routes.
///
/// # Errors
/// Postgres was not there in time, or a migration failed.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    metrics::register();
    let pool = database::open(&settings.database, &process).await?;
    database::migrate(&pool, &MIGRATIONS).await?;
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
        ticket_key: settings.ticket_public_key_file,
    };
    Ok(Doors {
        public: routes::public(app.clone()),
        internal: routes::internal(app),
        readiness,
        request_timeout: WRITE_TIMEOUT,
    })
}
