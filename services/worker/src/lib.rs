//! The back office of `booking`: payments, tickets, and the tasks of an elected leader.
//!
//! Every replica consumes `payments.fifo` and `tickets`; one of them, elected through etcd, relays
//! the outbox, releases what expired, settles with organisers, marks dead rows and prunes. It owns
//! no store: it works in `booking`'s database under a role of its own.
//!
//! What it promises: each outbox row has one effect at most, in the order of its group; each
//! leader's effect carries a fencing token, and a leader that was overtaken is refused; no
//! transaction is open while the bank, the queue or etcd is asked. What it leaves to others:
//! accepting orders (`booking`), moving money (`bank`).

pub mod bank;
pub mod dead_letters;
pub mod fence;
pub mod ledger;
mod office;
mod patience;
pub mod payments;
pub mod routes;
mod schema;
pub mod settings;
pub mod tasks;
pub mod tickets;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use leader::Election;
use messages::outbox::{Destination, Pointer};
use queue::{Consumer, Delivery, Options, Outcome, Queue};
use service::database::{self, Timeouts};
use service::health::Readiness;
use service::{Doors, Process, callers};
use sqlx::PgPool;
use tracing::Instrument;

pub use settings::Settings;

use office::Office;
use payments::Payments;
use tasks::status::Statuses;
use tickets::Tickets;

/// The name of the election.
const ELECTION: &str = "worker";
/// Most payments in hand: they mostly wait for the bank.
const PAYMENTS: usize = 20;
/// Most orders whose tickets are rendered at once: they mostly use the processor.
const TICKETS: usize = 4;

/// Makes what the process is made of.
///
/// # Errors
/// A setting makes no sense, or the database or its tables were not there in time.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    let key = tickets::code::key_from_hex(settings.ticket_signing_key_file.reveal())
        .context("TICKET_SIGNING_KEY_FILE")?;
    let fonts = tickets::Fonts::read()?;
    let replica = replica()?;
    let pool = database::open(&settings.database, Timeouts::default(), &process).await?;
    schema::wait(&pool, &process).await?;
    let client = queue::client(&settings.sqs_endpoint);
    let sqs = |name: &'static str| Queue::new(client.clone(), name);
    let stop = process.soft_stop();
    let bank_key = settings.bank_key_file.reveal();
    let bank = Arc::new(bank::Bank::new(&settings.bank_url, bank_key, stop.clone())?);

    let card_within = Duration::from_secs(settings.hold_seconds);
    let payments = Payments::new(pool.clone(), bank.clone(), card_within, stop.clone());
    consume(
        &process,
        &settings,
        sqs(Destination::Payments.queue()),
        PAYMENTS,
        move |pointer| {
            let payments = payments.clone();
            async move { payments.consume(&pointer).await }
        },
    );
    let tickets = Tickets::new(pool.clone(), key, fonts, stop);
    consume(
        &process,
        &settings,
        sqs(Destination::Tickets.queue()),
        TICKETS,
        move |pointer| {
            let tickets = tickets.clone();
            async move { tickets.consume(&pointer).await }
        },
    );

    let statuses = Statuses::default();
    let office = Office::new(&settings, &pool, &sqs, bank, &statuses);
    let candidate = replica.clone();
    let election = Election::connect(
        &settings.etcd_endpoints,
        ELECTION,
        candidate,
        settings.lease(),
    )
    .await
    .context("ETCD_ENDPOINTS")?;
    let leader = election.observed();
    process.spawn(
        "election",
        lead(election, office, pool.clone(), process.clone()),
    );

    let readiness = {
        let payments = sqs(Destination::Payments.queue());
        let leader = leader.clone();
        database::readiness(Readiness::new(), &pool)
            .needs("queue", move || {
                let payments = payments.clone();
                async move { Ok(payments.counts().await.map(|_| ())?) }
            })
            .needs("leader", move || {
                let known = leader.borrow().is_some();
                async move { known.then_some(()).context("nobody leads that we know of") }
            })
    };
    let app = routes::App {
        replica,
        leader,
        statuses,
        pool,
    };
    Ok(Doors {
        public: callers::only(&settings.nginx_key_file, routes::public(app)),
        internal: Router::new(),
        readiness,
        request_timeout: service::http::REQUEST_TIMEOUT,
    })
}

/// This replica's name: the host's, which in a container is its id.
fn replica() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("the host's name")?;
    Ok(name.trim().to_owned())
}

/// Consumes a queue until the process stops.
fn consume<H, F>(
    process: &Process,
    settings: &Settings,
    queue: Queue,
    concurrency: usize,
    handler: H,
) where
    H: Fn(Pointer) -> F + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let name = queue.name();
    let options = Options {
        concurrency,
        visibility: settings.visibility(),
        wait: Duration::from_secs(2),
        retry_after,
    };
    let stop = process.soft_stop();
    process.spawn(name, async move {
        let handler = move |pointer: Pointer, delivery: Delivery| {
            let span = tracing::info_span!(
                "message",
                queue.name = name,
                order.id = %pointer.group_id,
                outbox.row = %pointer.row_id,
                outbox.kind = pointer.kind.as_str(),
                message.receive_count = delivery.receive_count,
                trace.id = pointer.traceparent.as_deref().and_then(telemetry::trace_id),
            );
            handler(pointer).instrument(span)
        };
        Consumer::new(queue, options).run(stop, handler).await;
        Ok(())
    });
}

/// How long a message waits that failed: soon at first, then longer.
fn retry_after(receive_count: u32) -> Duration {
    Duration::from_secs(u64::from(receive_count.min(5)))
}

async fn lead(
    election: Election,
    office: Office,
    pool: PgPool,
    process: Process,
) -> anyhow::Result<()> {
    let (office, pool) = (&office, &pool);
    election
        .run(
            process.soft_stop(),
            |holder: String| async move { Ok(fence::mint(pool, &holder).await?) },
            |term| office.lead(term),
        )
        .await
}
