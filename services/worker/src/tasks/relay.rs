//! The relay of one destination: marks due outbox rows as sent, then sends them.
//!
//! The mark is committed before the queue is asked, so no transaction is open meanwhile; a row
//! whose send failed is taken back. Nothing is marked while the queue does not answer, so an
//! outage costs one failed batch at most. While the queue holds a message for each row that was
//! sent, nothing is missing, only slow, and sending again would make it slower: then a row is sent
//! again after the longest back-off only.
//!
//! An idle relay asks one question of one partial index (a fraction of a millisecond, nothing
//! written) ten times a second, and four times a second once nothing was there for ten seconds.

mod purge;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use leader::Term;
use messages::outbox::Destination;
use outbox::relay::{self, BATCH, Marked, Pace};
use queue::{Outgoing, Queue, Sent};
use sqlx::PgPool;
use transaction::Isolation;

use super::{Failure, Task};
use crate::fence;

/// The pause between looks.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause once nothing was there for [`IDLE_AFTER`].
const IDLE_PAUSE: Duration = Duration::from_millis(250);
/// When the relay counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// How long the queue's age is believed: how soon the loss of the queue is noticed.
const BELIEVED: Duration = Duration::from_secs(1);

/// The relay of one destination.
#[derive(Debug)]
pub struct Relay {
    pool: PgPool,
    queue: Queue,
    destination: Destination,
    resend: Duration,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// What the queue said of itself, and when.
    looked: Option<(Look, Instant)>,
    /// Since when rows of earlier leaders are in doubt, as asked under this token.
    former_since: Option<(i64, Option<DateTime<Utc>>)>,
    /// When a row was last waiting.
    busy_at: Instant,
    /// When it was last asked whether the queue is to be purged.
    thought_of_purge: Instant,
}

/// What a queue says of itself.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Whether it holds a message for each row that was sent.
    complete: bool,
}

impl Relay {
    /// Relays to `queue` what goes to `destination`, and again after `resend`.
    #[must_use]
    pub fn new(pool: PgPool, queue: Queue, destination: Destination, resend: Duration) -> Self {
        relay::show(destination);
        purge::show(&queue);
        let memory = Memory {
            looked: None,
            former_since: None,
            busy_at: Instant::now(),
            thought_of_purge: Instant::now(),
        };
        Self {
            pool,
            queue,
            destination,
            resend,
            memory: Mutex::new(memory),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the queue, at most once in [`BELIEVED`].
    async fn look(&self) -> Result<Look, Failure> {
        let known = self.memory().looked;
        if let Some((look, at)) = known
            && at.elapsed() < BELIEVED
        {
            return Ok(look);
        }
        self.memory().looked = None;
        let created_at = self.queue.created_at().await?;
        // The queue first: a row that is delivered in between then counts as still on the queue,
        // which errs on the side of not sending again.
        let counts = self.queue.counts().await?;
        let held = counts.visible + counts.in_flight + counts.delayed;
        let sent = relay::on_their_way(&self.pool, self.destination).await?;
        let look = Look {
            created_at,
            complete: held >= sent.unsigned_abs(),
        };
        self.memory().looked = Some((look, Instant::now()));
        Ok(look)
    }

    /// Since when rows of earlier leaders are in doubt; asked once a term.
    async fn former_since(&self, token: i64) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        match self.memory().former_since {
            Some((of, since)) if of == token => return Ok(since),
            _ => {}
        }
        let since = relay::former_since(&self.pool, self.destination, token).await?;
        self.memory().former_since = Some((token, since));
        Ok(since)
    }

    /// Marks what is due, under the term's token.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn mark(&self, token: i64, pace: Pace) -> Result<Vec<Marked>, Failure> {
        let (name, destination) = (self.name(), self.destination);
        // Read committed: rows are locked as they are chosen, and those others hold are skipped.
        transaction::run(
            &self.pool,
            "relay mark",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let marked = relay::mark(&mut tx, destination, token, pace).await?;
                if !marked.is_empty() {
                    fence::store(&mut tx, name, token).await?;
                }
                tx.done::<_, Failure>(marked)
            },
        )
        .await
    }

    /// Sends what was marked, and takes back what could not be sent.
    async fn send(&self, token: i64, marked: &[Marked]) -> Result<(), Failure> {
        let batch = marked
            .iter()
            .map(|row| self.outgoing(row))
            .collect::<Result<Vec<_>, _>>()?;
        let results = self.queue.send(batch).await;
        let reason = |row: &Marked| reason(&results, row);
        let mut failed = Vec::new();
        for row in marked {
            let why = reason(row);
            relay::observe(self.destination, row, why.is_none());
            failed.extend(why.map(|why| (row, why)));
        }
        let Some((_, why)) = failed.first() else {
            return Ok(());
        };
        let failure = Failure::NotSent {
            failed: failed.len(),
            all: marked.len(),
            reason: why.clone(),
        };
        self.memory().looked = None;
        let rows: Vec<&Marked> = failed.iter().map(|(row, _)| *row).collect();
        self.take_back(token, &rows).await?;
        Err(failure)
    }

    /// Takes back rows whose send failed, under the term's token.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn take_back(&self, token: i64, failed: &[&Marked]) -> Result<(), Failure> {
        let name = self.name();
        // Read committed: the number of the send guards each row.
        transaction::run(
            &self.pool,
            "relay take back",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                if relay::take_back(&mut tx, failed).await? > 0 {
                    fence::store(&mut tx, name, token).await?;
                }
                tx.done::<_, Failure>(())
            },
        )
        .await
    }

    fn outgoing(&self, row: &Marked) -> Result<Outgoing, sqlx::Error> {
        let ordered = self.destination == Destination::Payments;
        Ok(Outgoing {
            id: row.pointer.row_id.to_string(),
            body: serde_json::to_string(&row.pointer)
                .map_err(|error| sqlx::Error::Encode(error.into()))?,
            group: ordered.then(|| row.pointer.group_id.to_string()),
            deduplication_id: ordered.then(|| row.deduplication_id.clone()),
        })
    }
}

/// Why a row was not sent, if it was not.
fn reason(results: &Result<Vec<Sent>, queue::Error>, row: &Marked) -> Option<String> {
    match results {
        Err(error) => Some(error.to_string()),
        Ok(results) => {
            let id = row.pointer.row_id.to_string();
            match results.iter().find(|sent| sent.id == id) {
                Some(sent) => sent.result.clone().err(),
                None => Some("the queue did not say".to_owned()),
            }
        }
    }
}

impl Task for Relay {
    fn name(&self) -> &'static str {
        match self.destination {
            Destination::Payments => "relay-payments",
            Destination::Tickets => "relay-tickets",
        }
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        if !relay::anything_undelivered(&self.pool, self.destination).await? {
            self.purge_now_and_then(term.token()).await?;
            let idle = self.memory().busy_at.elapsed() > IDLE_AFTER;
            return Ok(if idle { IDLE_PAUSE } else { PAUSE });
        }
        self.memory().busy_at = Instant::now();
        let look = self.look().await?;
        let pace = Pace {
            resend: if look.complete {
                relay::MAX_BACK_OFF
            } else {
                self.resend
            },
            queue_created_at: look.created_at,
            former_since: self.former_since(term.token()).await?,
        };
        let marked = self.mark(term.token(), pace).await?;
        if !marked.is_empty() {
            self.send(term.token(), &marked).await?;
        }
        let full = i64::try_from(marked.len()).unwrap_or(i64::MAX) >= BATCH;
        Ok(if full { Duration::ZERO } else { PAUSE })
    }
}
