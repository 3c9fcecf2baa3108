//! Reads through the cache.
//!
//! What is cached is what is sent: the bytes of the answer, behind eight bytes of version for
//! events. A hit is one round trip to Redis and no parsing.
//!
//! - **Events and their seat maps** are invalidated when they change ([`Reads::changing`]) and
//!   never older than the question. There is no layer in the process in front of Redis: it would
//!   make a replica answer what another one has changed already.
//! - **Lists** cannot be invalidated one by one (any change may touch any list), and the indexes
//!   behind them lag anyway: they live for a second, which still makes it one query a second and
//!   replica however many ask.

use std::time::Duration;

use bytes::Bytes;
use cache::{Cache, Options, Store};
use problem::Problem;
use serde::Serialize;
use uuid::Uuid;

use crate::event::{Event, State};
use crate::events::Events;
use crate::{failure, seat_map};

/// The caches in front of the table.
#[derive(Debug)]
pub struct Reads {
    events: Cache,
    seat_maps: Cache,
    lists: Cache,
    popular: Cache,
}

/// An event as it is sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its version.
    pub version: u64,
    /// Its JSON.
    pub json: Bytes,
}

/// Longest time of a load. It is shorter than a read may take ([`service::http::READ_TIMEOUT`]),
/// after a question to a cache that hangs; and longer than DynamoDB may take
/// ([`crate::table::OPERATION_TIMEOUT`]), after the same. So whoever waits is told what is away.
const LOAD_TIMEOUT: Duration = Duration::from_millis(1_300);

const VERSION_LENGTH: usize = size_of::<u64>();

impl Reads {
    /// Caches on `store`.
    pub fn new(store: &Store) -> Self {
        let document = Options {
            load_timeout: LOAD_TIMEOUT,
            ..Options::default()
        };
        let list = |seconds| Options {
            ttl: Duration::from_secs(seconds),
            negative_ttl: Duration::from_secs(seconds),
            ..document
        };
        Self {
            events: Cache::new("events", store.clone(), document),
            seat_maps: Cache::new("seat_maps", store.clone(), document),
            lists: Cache::new("lists", store.clone(), list(1)),
            popular: Cache::new("popular", store.clone(), list(2)),
        }
    }

    /// The event as anybody may see it, if it is on sale.
    ///
    /// # Errors
    /// The store of events does not answer.
    pub async fn event(&self, events: &Events, id: Uuid) -> Result<Option<Document>, Problem> {
        let load = async || {
            let Some(event) = on_sale(events, id).await? else {
                return Ok(None);
            };
            let mut entry = event.version.to_be_bytes().to_vec();
            serde_json::to_writer(&mut entry, &event.into_public()).map_err(Problem::internal)?;
            Ok(Some(entry.into()))
        };
        let entry = self
            .events
            .get_or_load(&id.to_string(), load)
            .await
            .map_err(of_cache)?;
        Ok(entry.and_then(|entry| {
            let version = entry.first_chunk::<VERSION_LENGTH>()?;
            Some(Document {
                version: u64::from_be_bytes(*version),
                json: entry.slice(VERSION_LENGTH..),
            })
        }))
    }

    /// The event's seat map as SVG, if it is on sale.
    ///
    /// # Errors
    /// The store of events does not answer.
    pub async fn seat_map(&self, events: &Events, id: Uuid) -> Result<Option<Bytes>, Problem> {
        let load = async || {
            Ok(on_sale(events, id)
                .await?
                .map(|event| Bytes::from(seat_map::draw(&event))))
        };
        self.seat_maps
            .get_or_load(&id.to_string(), load)
            .await
            .map_err(of_cache)
    }

    /// The list that `name` says in full, made by `load`, as JSON.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn list<T: Serialize>(
        &self,
        name: &str,
        load: impl AsyncFnOnce() -> Result<T, Problem>,
    ) -> Result<Bytes, Problem> {
        json(&self.lists, name, load).await
    }

    /// The most popular events, made by `load`, as JSON.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn popular<T: Serialize>(
        &self,
        limit: u32,
        load: impl AsyncFnOnce() -> Result<T, Problem>,
    ) -> Result<Bytes, Problem> {
        json(&self.popular, &limit.to_string(), load).await
    }

    /// Runs `write`, which changes the event `id`, so that nobody who reads afterwards is given
    /// what was there before.
    ///
    /// # Errors
    /// Those of `write`.
    pub async fn changing<T>(
        &self,
        id: Uuid,
        write: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let key = id.to_string();
        self.seat_maps
            .changing(&key, self.events.changing(&key, write))
            .await
    }

    /// Forgets what is kept of the event `id`: for a change that took effect before it could be
    /// answered, and may so have been made after its request had given up.
    ///
    /// # Errors
    /// None of its own.
    pub async fn forget(&self, id: Uuid) -> Result<(), Problem> {
        self.changing(id, async { Ok(()) }).await
    }
}

async fn on_sale(events: &Events, id: Uuid) -> Result<Option<Event>, Problem> {
    Ok(events
        .get(id)
        .await?
        .filter(|event| event.state == State::OnSale))
}

async fn json<T: Serialize>(
    cache: &Cache,
    key: &str,
    load: impl AsyncFnOnce() -> Result<T, Problem>,
) -> Result<Bytes, Problem> {
    let load = async || {
        let list = load().await?;
        serde_json::to_vec(&list)
            .map(|json| Some(json.into()))
            .map_err(Problem::internal)
    };
    let found = cache.get_or_load(key, load).await.map_err(of_cache)?;
    found.ok_or_else(|| Problem::internal("a list is cached as missing"))
}

fn of_cache(error: cache::Error<Problem>) -> Problem {
    match error {
        cache::Error::Load(problem) => problem,
        cache::Error::Shared | cache::Error::Late => failure::away(),
    }
}

#[cfg(test)]
mod tests {
    use service::http::READ_TIMEOUT;

    use super::*;
    use crate::table::OPERATION_TIMEOUT;

    #[test]
    fn what_a_read_waits_for_is_given_up_before_the_read() {
        // A cache that hangs is waited for once; then it counts as away.
        let question = cache::OPERATION_TIMEOUT;
        assert!(question + LOAD_TIMEOUT < READ_TIMEOUT);
        assert!(question + OPERATION_TIMEOUT < LOAD_TIMEOUT);
    }
}
