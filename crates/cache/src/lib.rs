//! Cache-aside: read the cache, on a miss load from the owner of the truth and fill the cache.
//!
//! Values are bytes, so that a hit can be sent on as it is. What this crate promises:
//!
//! - **One load.** A hundred misses for one key in one process make one load ([`flight`]); across
//!   processes at most one each.
//! - **Never older than the question.** Whoever asks after a change was finished by [`Cache::changing`]
//!   is never given the value from before it, whichever process answers (as long as the process
//!   that changes can reach the cache, see below).
//! - **Never down.** A cache that is away costs one time-out, then nothing until it is back: reads
//!   go straight to the owner, a bounded number at a time.
//! - Entries live for a time with jitter, so that what was filled together does not run out
//!   together; "there is no such thing" is remembered too, for a shorter time.
//!
//! # How a load and a change that race are kept apart
//!
//! A plain "load, then set" may store what it read *before* a change *after* that change deleted
//! the entry, and the old value then stands for its whole life. So a miss first places a **lease**
//! in the entry's own place (one `SET … NX GET`), loads, and stores its value only if its own
//! lease is still there (one script, compare and set). A change overwrites whatever stands there
//! with a **fence** before it writes, and deletes the entry after it wrote: every lease that was
//! taken before is lost, and no lease is given while the fence stands. If the process dies between
//! its write and the deletion, the fence runs out by itself ([`FENCE`]); nothing old is left.
//! Nothing here needs versions, and other stores can do the same (Memcached with `add` and `cas`).
//!
//! Changes of one key may overlap, so a fence has **owners**: it holds the token of each change that
//! is under way. A change that finishes takes out its own token only, and the entry is deleted with
//! the last one. So a change whose process dies, or whose outcome is unknown, stays protected
//! whatever the others do. A change whose outcome is unknown (its write failed, and may take effect
//! late) puts its token into the fence once more, which then stands for its full life from that
//! moment.
//!
//! A load that others joined may still have begun before a change. Its result says as of which
//! moment it is known to be true, and who asked later than that does not take it but flies again
//! (once: the next load begins after the question).
//!
//! # What it leaves to others
//!
//! A process that cannot reach the cache while it changes something remembers the key, reads
//! nothing from the cache until it has deleted it there, and then goes on. Meanwhile *another*
//! process that does reach the cache may see the old value, for the entry's time to live at most.
//! Reads that must not do even that read the owner of the truth.

mod entry;
pub mod flight;
mod metrics;
mod store;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use entry::Found;
use flight::{Boarding, Flights, Landing};
use metrics::Metrics;
pub use store::{Away, OPERATION_TIMEOUT, Store};

/// How long a fence stands if the one who placed it cannot take it away. It is longer than any
/// write that it protects may take.
pub const FENCE: Duration = Duration::from_secs(5);

/// How a cache behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest life of an entry.
    pub ttl: Duration,
    /// Life of the entry "there is no such thing".
    pub negative_ttl: Duration,
    /// Part of the life, 0 to 1, that is taken off at random.
    pub jitter: f64,
    /// Longest time from a miss to its value.
    pub load_timeout: Duration,
    /// Most loads at once; others wait within `load_timeout`.
    pub loads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            jitter: 0.2,
            load_timeout: Duration::from_secs(4),
            loads: 32,
        }
    }
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// The load failed.
    #[error("the load failed")]
    Load(#[source] E),
    /// The load of another request, which this one waited for, failed.
    #[error("the load that this request shared failed")]
    Shared,
    /// The load took longer than it may.
    #[error("the load took too long")]
    Late,
}

/// A named cache. Several may share one [`Store`].
#[derive(Debug)]
pub struct Cache {
    name: &'static str,
    store: Store,
    options: Options,
    flights: Flights,
    loads: Semaphore,
    metrics: Metrics,
}

impl Cache {
    /// A cache called `name`, which stands in its keys and metrics.
    #[must_use]
    pub fn new(name: &'static str, store: Store, options: Options) -> Self {
        Self {
            name,
            store,
            options,
            flights: Flights::default(),
            loads: Semaphore::new(options.loads),
            metrics: Metrics::of(name),
        }
    }

    /// The value of `key` from the cache, or else by `load`. `None` means that there is no such
    /// thing, which is remembered as well.
    ///
    /// # Errors
    /// The load failed, or took too long. A cache that is away is not an error.
    pub async fn get_or_load<E, F, Fut>(
        &self,
        key: &str,
        load: F,
    ) -> Result<Option<Bytes>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Bytes>, E>>,
    {
        let asked = Instant::now();
        let key = self.place(key);
        match self.store.get(&key).await {
            Ok(Found::Value(value)) => {
                self.metrics.hit.inc();
                return Ok(Some(value));
            }
            Ok(Found::NoSuchThing) => {
                self.metrics.negative_hit.inc();
                return Ok(None);
            }
            Ok(Found::Nothing | Found::Taken) => self.metrics.miss.inc(),
            Err(Away) => self.metrics.error.inc(),
        }
        let shared = Box::pin(self.load_shared(&key, asked, load));
        tokio::time::timeout(self.options.load_timeout, shared)
            .await
            .unwrap_or(Err(Error::Late))
    }

    /// Runs `write`, which changes what `key` stands for, so that no load that began before the
    /// change can leave the old value behind, and nobody who asks afterwards is given it.
    ///
    /// # Errors
    /// Those of `write`.
    pub async fn changing<T, E>(
        &self,
        key: &str,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let key = self.place(key);
        let token = rand::random::<u64>();
        // Where one of these fails, the store deletes the entry before it is used again.
        let _ = self.store.raise(&key, token, FENCE).await;
        let outcome = write.await;
        let _ = match outcome {
            Ok(_) => self.store.lift(&key, token).await,
            // It may have happened nevertheless, or happen late: an answer was lost.
            Err(_) => self.store.raise(&key, token, FENCE).await,
        };
        outcome
    }

    fn place(&self, key: &str) -> String {
        let mut place = String::with_capacity(self.name.len() + 1 + key.len());
        place.push_str(self.name);
        place.push(':');
        place.push_str(key);
        place
    }

    async fn load_shared<E, F, Fut>(
        &self,
        key: &str,
        asked: Instant,
        load: F,
    ) -> Result<Option<Bytes>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Bytes>, E>>,
    {
        loop {
            match self.flights.board(key) {
                Boarding::Lead(lead) => {
                    return match self.load_alone(key, lead.began(), load).await {
                        Ok((as_of, value)) => {
                            lead.land(as_of, value.clone());
                            Ok(value)
                        }
                        Err(error) => {
                            lead.fail();
                            Err(error)
                        }
                    };
                }
                Boarding::Join(seat) => {
                    self.metrics.shared_loads.inc();
                    match seat.landing().await {
                        Landing::Value { as_of, value } if asked <= as_of => return Ok(value),
                        Landing::Failed => return Err(Error::Shared),
                        // Too old for this question, or its leader went away.
                        Landing::Value { .. } | Landing::Abandoned => {}
                    }
                }
            }
        }
    }

    /// Loads with a lease where one can be had. Tells as of which moment the value is known to be
    /// true.
    async fn load_alone<E, F, Fut>(
        &self,
        key: &str,
        began: Instant,
        load: F,
    ) -> Result<(Instant, Option<Bytes>), Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Bytes>, E>>,
    {
        let lease = rand::random::<u64>();
        let leased = match self
            .store
            .lease(key, lease, self.options.load_timeout)
            .await
        {
            Ok(Found::Value(value)) => return Ok((began, Some(value))),
            Ok(Found::NoSuchThing) => return Ok((began, None)),
            Ok(Found::Nothing) => true,
            Ok(Found::Taken) | Err(Away) => false,
        };
        // The semaphore is never closed, so the only other outcome is a permit.
        let _permit = self.loads.acquire().await.map_err(|_| Error::Late)?;
        let timer = self.metrics.load_seconds.start_timer();
        let value = load().await.map_err(Error::Load)?;
        timer.observe_duration();
        if leased {
            let filling = Instant::now();
            let life = self.life(value.is_some());
            if matches!(
                self.store.fill(key, lease, value.as_ref(), life).await,
                Ok(true)
            ) {
                return Ok((filling, value));
            }
        }
        Ok((began, value))
    }

    fn life(&self, is_something: bool) -> Duration {
        let longest = if is_something {
            self.options.ttl
        } else {
            self.options.negative_ttl
        };
        longest.mul_f64(1.0 - self.options.jitter.clamp(0.0, 1.0) * rand::random::<f64>())
    }
}
