//! Where the public seat overview is read: on a standby, with a bound on how old it may be.
//!
//! Looking at seats is most of what a crowd does, and it may be a little late: a seat that is seen
//! free can be gone by the time somebody asks for it. So it is read on a standby, and the primary
//! is left to those who buy. What this promises: what is shown is at most [`FRESH`] old; while no
//! primary answers, at most [`OUTAGE`]; beyond that it is refused. The answer's `Age` (RFC 9111)
//! says how old it is. What is not found on a standby is looked for on the primary, so an event is
//! there for everybody as soon as its organiser was told so.
//!
//! Only some of these reads are made on the primary at once, whatever sends them there. When more
//! people look than the standbys have connections for, the others are refused, and those who buy
//! notice nothing.
//!
//! Whoever hangs is left in time to ask the others: standbys, primary and standbys again take less
//! than a read may, in all.
//!
//! A standby cannot tell by itself whether it is behind: one that was cut off sees no difference
//! between "nothing happens" and "I hear nothing". So the primary writes the time twice a second
//! ([`heartbeat`]), and the time that a standby has is the age of all that it has. Clocks of two
//! nodes are compared here: on one machine they are one, elsewhere they need NTP.

pub(crate) mod heartbeat;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use problem::Problem;
use service::database;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::metrics;

/// The oldest that a standby may be while there is a primary.
const FRESH: Duration = Duration::from_secs(2);
/// The oldest that is shown while no primary answers: as long as a failover may take.
const OUTAGE: Duration = Duration::from_secs(30);
/// How long a standby may take to let us in, and again to say how old it is.
const STANDBY_TIMEOUT: Duration = Duration::from_millis(200);
/// How long standbys may take for all of it, the read included, so that there is time left for the
/// primary.
const STANDBYS_TIMEOUT: Duration = Duration::from_millis(350);
/// How long the primary may take, so that there is time left to show something older.
const PRIMARY_TIMEOUT: Duration = Duration::from_millis(700);
/// For how long whoever did not answer is taken for away.
const AWAY_FOR: Duration = Duration::from_secs(1);
/// Most connections to standbys.
const MOST: u32 = 5;
/// Most of these reads on the primary at once: the most of its connections are for those who buy.
const MOST_ON_PRIMARY: usize = 3;
/// Most standbys that one read is tried on.
const TRIES: u32 = 3;

/// A read under way. It gives nothing where there is nothing.
pub(crate) type Reading<'c, T> =
    Pin<Box<dyn Future<Output = Result<Option<T>, sqlx::Error>> + Send + 'c>>;

/// What a read gave, and how old that may be.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    /// What was found, if anything.
    pub(crate) found: Option<T>,
    age: Duration,
}

impl<T> Seen<T> {
    /// Tells clients the age, in whole seconds.
    pub(crate) fn age(&self) -> [(HeaderName, String); 1] {
        [(header::AGE, self.age.as_secs().to_string())]
    }
}

/// The nodes to read on.
#[derive(Debug)]
pub(crate) struct Overview {
    primary: PgPool,
    standbys: PgPool,
    places_on_primary: Semaphore,
    primary_away: Away,
    standbys_away: Away,
}

impl Overview {
    /// Reads on `primary`, and on the standbys behind another door of the same database, which are
    /// connected to when they are first asked.
    pub(crate) fn new(primary: PgPool, standbys_host: &str, standbys_port: u16) -> Self {
        let options = primary.connect_options().as_ref().clone();
        let standbys = database::pool_options()
            .max_connections(MOST)
            .acquire_timeout(STANDBY_TIMEOUT)
            .idle_timeout(Duration::from_secs(60))
            // The age is asked for first, which tests the connection too.
            .test_before_acquire(false)
            .connect_lazy_with(options.host(standbys_host).port(standbys_port));
        Self {
            primary,
            standbys,
            places_on_primary: Semaphore::new(MOST_ON_PRIMARY),
            primary_away: Away::default(),
            standbys_away: Away::default(),
        }
    }

    /// Reads on a standby that is fresh enough, else on the primary, else on a standby that is old.
    ///
    /// # Errors
    /// 503 where none of these answered.
    pub(crate) async fn read<T, R>(&self, read: R) -> Result<Seen<T>, Problem>
    where
        R: for<'c> Fn(&'c mut PgConnection) -> Reading<'c, T>,
    {
        if let Some(seen) = self.on_standby(&read, self.oldest()).await {
            return Ok(seen);
        }
        let refused = match self.on_primary(&read).await {
            Ok(found) => {
                metrics::overview("primary");
                let age = Duration::ZERO;
                return Ok(Seen { found, age });
            }
            Err(refused) => refused,
        };
        if is_unavailable(&refused)
            && let Some(seen) = self.on_standby(&read, self.oldest()).await
        {
            return Ok(seen);
        }
        Err(refused)
    }

    /// The oldest that may be shown now.
    fn oldest(&self) -> Duration {
        if self.primary_away.is_so() {
            OUTAGE
        } else {
            FRESH
        }
    }

    async fn on_primary<T, R>(&self, read: &R) -> Result<Option<T>, Problem>
    where
        R: for<'c> Fn(&'c mut PgConnection) -> Reading<'c, T>,
    {
        let until = Instant::now() + PRIMARY_TIMEOUT;
        // Whoever gets no place has not asked it, and knows nothing of it.
        let _place = timeout_at(until, self.places_on_primary.acquire())
            .await
            .map_err(|_| Problem::unavailable("the seat overview"))?;
        let reading = async {
            let mut connection = self.primary.acquire().await?;
            read(&mut connection).await
        };
        let found = timeout_at(until, reading)
            .await
            .map_err(|_| Problem::unavailable("the database"))
            .and_then(|found| found.map_err(Problem::from));
        if found.as_ref().is_err_and(is_unavailable) {
            self.primary_away.mark();
        }
        found
    }

    /// What a standby has, if one is at most `oldest` and has it. One that becomes the primary is cut
    /// off from those who read on it: another connection leads to another standby.
    async fn on_standby<T, R>(&self, read: &R, oldest: Duration) -> Option<Seen<T>>
    where
        R: for<'c> Fn(&'c mut PgConnection) -> Reading<'c, T>,
    {
        let until = Instant::now() + STANDBYS_TIMEOUT;
        for _ in 0..TRIES {
            let (mut connection, age) = self.standby(until).await?;
            if age > oldest {
                return None;
            }
            let found = match timeout_at(until, read(&mut connection)).await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => {
                    drop(connection.detach());
                    continue;
                }
                // It hangs, although it told its age.
                Err(_) => {
                    drop(connection.detach());
                    self.standbys_away.mark();
                    return None;
                }
            };
            let node = if age > FRESH {
                "old_standby"
            } else {
                "standby"
            };
            let found = Some(found?);
            metrics::overview(node);
            return Some(Seen { found, age });
        }
        None
    }

    /// A connection to a standby, with the age of what it has, if they can be had `until` then.
    async fn standby(&self, until: Instant) -> Option<(PoolConnection<Postgres>, Duration)> {
        if self.standbys_away.is_so() {
            return None;
        }
        for _ in 0..=MOST {
            let Ok(Ok(mut connection)) = timeout_at(until, self.standbys.acquire()).await else {
                break;
            };
            let until = until.min(Instant::now() + STANDBY_TIMEOUT);
            match timeout_at(until, heartbeat::age(&mut connection)).await {
                Ok(Ok(age)) => {
                    metrics::standby_age(age);
                    return Some((connection, age));
                }
                // It stood idle and was cut off meanwhile, as all others perhaps.
                Ok(Err(_)) => drop(connection.detach()),
                // It hangs: whatever it says later is nobody's answer.
                Err(_) => {
                    drop(connection.detach());
                    break;
                }
            }
        }
        self.standbys_away.mark();
        None
    }
}

fn is_unavailable(refused: &Problem) -> bool {
    refused.status() == StatusCode::SERVICE_UNAVAILABLE
}

/// Whether somebody did not answer a moment ago, so that not everybody waits for him.
#[derive(Debug, Default)]
struct Away(Mutex<Option<Instant>>);

impl Away {
    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_so(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < AWAY_FOR)
    }
}
