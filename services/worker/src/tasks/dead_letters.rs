//! Marks outbox rows dead whose messages ended in a dead-letter queue.
//!
//! The mark stops the re-sending and shows in the order; it is the truth, the letter only brings
//! the news. Letters stay where people find them until they are history: once their row is
//! delivered, redriven or gone they are deleted. Where there are more of them than one look holds,
//! those whose news is known make room for those behind them: their rows stay dead, and are listed
//! and redriven without them. Letters that nobody can read stay.
//!
//! Whoever looks at a letter receives it and makes it visible again, and a queue may remember each
//! time for as long as the letter lies there. So they are read again only when their number, or that
//! of the dead rows, is another than after the last look.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use leader::Term;
use messages::outbox::Destination;
use outbox::dead::{self, Letter};
use queue::Queue;
use sqlx::PgPool;
use transaction::Isolation;
use uuid::Uuid;

use super::{Failure, Task};
use crate::dead_letters::peek;
use crate::fence;

/// How often.
const EVERY: Duration = Duration::from_secs(2);
/// For how long letters are hidden if whoever looked at them dies before putting them back.
const HIDDEN_FOR: Duration = Duration::from_secs(20);

/// Letters that seem to be the same are read again after so long: one may have come in the place of
/// one that went.
const SAME_FOR: Duration = Duration::from_secs(600);

/// The news from the dead-letter queues.
#[derive(Debug)]
pub struct DeadLetters {
    pool: PgPool,
    queues: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    destination: Destination,
    queue: Queue,
    /// What there was after the last look, and when that was.
    seen: Mutex<Option<(There, Instant)>>,
}

/// How many letters and dead rows a destination has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct There {
    letters: u64,
    rows: i64,
}

impl Watched {
    fn is_as_seen(&self, there: There) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|(before, at)| before == there && at.elapsed() < SAME_FOR)
    }

    fn saw(&self, there: Option<There>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = there.map(|there| (there, Instant::now()));
    }
}

impl DeadLetters {
    /// Reads the dead-letter queue of each destination.
    #[must_use]
    pub fn new(pool: PgPool, queues: Vec<(Destination, Queue)>) -> Self {
        let queues = queues.into_iter().map(|(destination, queue)| Watched {
            destination,
            queue,
            seen: Mutex::default(),
        });
        Self {
            pool,
            queues: queues.collect(),
        }
    }

    /// Marks the rows of letters as dead under the term's token; what each letter means.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn mark(&self, token: i64, letters: &[(Uuid, i32)]) -> Result<Vec<Letter>, Failure> {
        let name = self.name();
        // Read committed: each row is locked before it is judged.
        transaction::run(
            &self.pool,
            "mark dead",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                let mut meanings = Vec::with_capacity(letters.len());
                for (row, send) in letters {
                    meanings.push(dead::mark(&mut tx, *row, *send).await?);
                }
                if meanings.contains(&Letter::Kills) {
                    fence::store(&mut tx, name, token).await?;
                }
                tx.done::<_, Failure>(meanings)
            },
        )
        .await
    }

    /// Looks at every destination once, whatever fails at another.
    ///
    /// # Errors
    /// Refused by the token, which ends it at once; else the first failure of the database or a
    /// queue.
    pub async fn look(&self, token: i64) -> Result<(), Failure> {
        let mut looked = Ok(());
        for watched in &self.queues {
            let read = self.read(token, watched).await;
            let marked = self.mark_followers(token, watched.destination).await;
            for done in [read, marked] {
                match done {
                    Err(Failure::Refused) => return Err(Failure::Refused),
                    done => looked = looked.and(done),
                }
            }
        }
        looked
    }

    async fn there(&self, watched: &Watched) -> Result<There, Failure> {
        let counts = watched.queue.counts().await?;
        let letters = counts.visible + counts.in_flight;
        let rows = match letters {
            0 => 0,
            _ => dead::count(&self.pool, watched.destination).await?,
        };
        Ok(There { letters, rows })
    }

    async fn read(&self, token: i64, watched: &Watched) -> Result<(), Failure> {
        let queue = &watched.queue;
        let there = self.there(watched).await?;
        if watched.is_as_seen(there) {
            return Ok(());
        }
        watched.saw(None);
        if there.letters == 0 {
            return Ok(());
        }
        let letters = peek::peek(queue, HIDDEN_FOR).await?;
        let may_be_more = letters.len() >= peek::MOST;
        let read: Vec<_> = letters
            .iter()
            .filter_map(|letter| Some((letter, letter.pointer.as_ref()?)))
            .collect();
        let rows: Vec<_> = read
            .iter()
            .map(|(_, pointer)| (pointer.row_id, pointer.send))
            .collect();
        let meanings = self.mark(token, &rows).await;
        let mut history = Vec::new();
        for ((letter, pointer), meaning) in read.iter().zip(meanings.iter().flatten()) {
            match meaning {
                Letter::Kills => tracing::error!(
                    order.id = %pointer.group_id, outbox.row = %pointer.row_id,
                    queue.name = queue.name(), "a row is dead: redrive it once its cause is gone"
                ),
                Letter::Known if !may_be_more => {}
                Letter::Known | Letter::History => history.push(letter.message.receipt.clone()),
            }
        }
        let kept = letters
            .iter()
            .filter(|letter| !history.contains(&letter.message.receipt));
        peek::put_back(queue, kept).await?;
        let all_stay = history.is_empty() && u64::try_from(letters.len()) == Ok(there.letters);
        // What is refused is read again by the next run.
        queue.delete(history).await?;
        meanings?;
        if all_stay {
            let rows = dead::count(&self.pool, watched.destination).await?;
            watched.saw(Some(There { rows, ..there }));
        }
        Ok(())
    }

    async fn mark_followers(&self, token: i64, destination: Destination) -> Result<(), Failure> {
        if !dead::any_follower(&self.pool, destination).await? {
            return Ok(());
        }
        let name = self.name();
        // Read committed: rows are only ever added behind a dead one, and marked by the next run.
        transaction::run(
            &self.pool,
            "mark followers",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                dead::mark_followers(&mut tx, destination).await?;
                fence::store(&mut tx, name, token).await?;
                tx.done::<_, Failure>(())
            },
        )
        .await
    }
}

impl Task for DeadLetters {
    fn name(&self) -> &'static str {
        "dead-letters"
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        self.look(term.token()).await?;
        Ok(EVERY)
    }
}
