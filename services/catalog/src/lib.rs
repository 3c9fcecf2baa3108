//! The catalogue: event documents that anybody may browse and organisers write.
//!
//! Documents stand in one DynamoDB table ([`table`]) and change by conditional writes on their
//! version ([`events`]). Reads go through the cache ([`reads`]): an event is never older than the
//! question, a list may be a second old. Publishing puts the seats into `booking` first
//! ([`booking`]). Popularity is counted in the process and kept in Redis ([`popularity`]).
//!
//! What is promised: no update is lost; a repeated create with its `Idempotency-Key` has one
//! effect; the cache or Redis being away makes reads slower and popularity silent, nothing else;
//! while DynamoDB or `booking` is away nobody waits for it ([`circuit`]).

mod booking;
mod circuit;
mod cities;
mod cursor;
mod etag;
mod event;
mod events;
mod failure;
mod item;
mod keys;
mod metrics;
mod popularity;
mod reads;
mod routes;
mod rules;
mod seat_map;
mod settings;
mod table;
#[cfg(test)]
mod trial;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use sentinel::Watched;
use service::health::Readiness;
use service::{Doors, Process, callers, wait};

use booking::Booking;
use events::Events;
use popularity::Popularity;
use reads::Reads;
pub use settings::Settings;

/// What the routes are made of.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) events: Events,
    pub(crate) reads: Reads,
    pub(crate) popularity: Popularity,
    pub(crate) booking: Booking,
}

/// How long the start waits for the cache, which it can do without.
const WAIT_FOR_CACHE: Duration = Duration::from_millis(500);

/// Makes the process.
///
/// # Errors
/// A setting cannot be used, or DynamoDB was not there in time.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    let client = table::client(&settings.dynamodb_endpoint);
    let name = settings.dynamodb_table.as_str();
    // Boxed: it is large, and needed once.
    Box::pin(wait::until_ready(&process, "dynamodb", || {
        table::make(&client, name)
    }))
    .await?;
    let store = cache::Store::open(
        &settings.cache_address,
        settings.cache_password_file.reveal(),
    )
    .context("CACHE_ADDRESS")?;
    store.ready(WAIT_FOR_CACHE).await;
    let popularity = Popularity::open(&Watched {
        sentinels: &settings.redis_sentinels,
        name: &settings.redis_name,
        password: settings.redis_password_file.reveal(),
    });
    let events = Events::new(client, settings.dynamodb_table.clone());
    let catalog = Arc::new(Catalog {
        reads: Reads::new(&store),
        booking: Booking::new(&settings.booking_url, settings.booking_key_file.reveal())
            .context("BOOKING_URL")?,
        popularity,
        events,
    });
    process.spawn(
        "popularity",
        popularity::keep(catalog.clone(), process.clone()),
    );
    process.spawn("cities", cities::keep(catalog.clone(), process.clone()));
    let asked = catalog.clone();
    let readiness = Readiness::new().needs("dynamodb", move || {
        let asked = asked.clone();
        async move { Ok(asked.events.answers().await?) }
    });
    Ok(Doors {
        public: callers::only(&settings.nginx_key_file, routes::public(catalog)),
        internal: Router::new(),
        readiness,
        request_timeout: service::http::REQUEST_TIMEOUT,
    })
}
