//! The primary, as questions see it: there, or away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::{Notify, watch};

use crate::connection::is_lost;
use crate::follow::follow;
use crate::view::{Sentinels, View};
use crate::{Address, Error, Watched, metrics};

/// How long the primary may take to answer, a moment without a processor included.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(450);

/// How long a write waits for a replica to have it.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a confirmed write may take in all. Writes wait one after the other, on a connection of
/// their own.
pub const CONFIRMED_TIMEOUT: Duration = Duration::from_millis(1_000);

/// The channel on which each write that is to be confirmed is followed by a message.
const MARK: &str = "confirm";

/// The primary that the sentinels name. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Primary(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) password: String,
    link: Mutex<Option<Link>>,
    view: watch::Sender<Option<View>>,
    /// Something was lost, or late: the task in the background looks at once.
    pub(crate) lost: Arc<Notify>,
    /// A confirmation was late since the task looked last.
    confirmation_was_late: AtomicBool,
}

/// Connections to one primary.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) address: Address,
    /// For questions.
    pub(crate) asking: MultiplexedConnection,
    /// For writes that wait for a replica. `WAIT` holds up whatever comes after it on its
    /// connection, so it has one of its own.
    pub(crate) confirming: MultiplexedConnection,
    /// Which link this is, so that a late failure of an earlier one does no harm.
    pub(crate) number: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Primary {
    /// Begins to look for the primary, in the background: it is away at first. Has to be called
    /// within a Tokio runtime; ends when the last clone is dropped.
    #[must_use]
    pub fn open(watched: &Watched<'_>) -> Self {
        metrics::register();
        let inner = Arc::new(Inner {
            password: watched.password.to_owned(),
            link: Mutex::new(None),
            view: watch::Sender::new(None),
            lost: Arc::new(Notify::new()),
            confirmation_was_late: AtomicBool::new(false),
        });
        let sentinels = Sentinels::of(watched);
        tokio::spawn(follow(
            Arc::downgrade(&inner),
            sentinels,
            inner.lost.clone(),
        ));
        Self(inner)
    }

    /// Whether there is a primary that answered within the last second or so.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Waits until there is a primary, `at_most` so long; tells whether there is.
    pub async fn ready(&self, at_most: Duration) -> bool {
        let until = tokio::time::Instant::now() + at_most;
        while !self.is_there() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Asks the primary, with a bound; fails at once while there is none.
    ///
    /// # Errors
    /// There is none, it does not answer, or it refuses.
    pub async fn ask<T: FromRedisValue>(&self, ask: &Pipeline) -> Result<T, Error> {
        let mut link = self.0.link().ok_or(Error::Away)?;
        let asked = ask.query_async(&mut link.asking);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        self.0.judge(&link, answer.ok())
    }

    /// Writes, and answers after a replica has it too, so that it outlives the primary. What the
    /// commands returned stands first in the answer. Every failure but [`Error::Away`] leaves open
    /// whether it was written.
    ///
    /// A confirmation that is late says nothing about the primary: the replicas are slow, or others
    /// wait for them on the same connection. So it does not send the primary away, and reads go on.
    /// The task in the background finds out at once whether the primary still answers, and connects
    /// anew for the confirmations that follow.
    ///
    /// Redis waits for what was written on the same connection. A repeated write that changes
    /// nothing any more, because the first try had done it, would wait for nothing although the
    /// first try was never confirmed. So something is published after it: that goes to the
    /// replicas as well, whoever listens, and comes after all that anybody has written before.
    ///
    /// # Errors
    /// There is no primary, it does not answer, it refuses, or no replica confirmed it in time.
    pub async fn confirm(&self, mut write: Pipeline) -> Result<Vec<Value>, Error> {
        let mut link = self.0.link().ok_or(Error::Away)?;
        write.cmd("PUBLISH").arg(MARK).arg("");
        write.cmd("WAIT").arg(1).arg(milliseconds(CONFIRM_TIMEOUT));
        let written = write.query_async::<Vec<Value>>(&mut link.confirming);
        let answer = match tokio::time::timeout(CONFIRMED_TIMEOUT, written).await {
            Ok(Err(error)) if error.is_timeout() => None,
            answer => answer.ok(),
        };
        let Some(answer) = answer else {
            self.0.confirmation_was_late.store(true, Ordering::Relaxed);
            self.0.lost.notify_one();
            return Err(Error::Late);
        };
        let answers = self.0.judge(&link, Some(answer))?;
        match answers.last() {
            Some(Value::Int(1..)) => Ok(answers),
            _ => Err(Error::Unconfirmed),
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.lock().clone()
    }

    pub(crate) fn view(&self) -> Option<View> {
        self.view.borrow().clone()
    }

    pub(crate) fn sees(&self, view: View) {
        self.view.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&view);
            *known = Some(view);
            is_new
        });
    }

    /// Uses this link from now on.
    pub(crate) fn take(&self, link: Link) {
        metrics::found();
        *self.lock() = Some(link);
    }

    /// Whether a confirmation was late since this was asked last.
    pub(crate) fn confirmation_was_late(&self) -> bool {
        self.confirmation_was_late.swap(false, Ordering::Relaxed)
    }

    /// Confirms on this connection from now on, unless the link is another one by now.
    pub(crate) fn confirm_on(&self, number: u64, connection: MultiplexedConnection) {
        if let Some(link) = self.lock().as_mut().filter(|link| link.number == number) {
            link.confirming = connection;
        }
    }

    /// Sends the primary away, unless it is another one by now.
    pub(crate) fn lose(&self, number: u64, reason: &str) {
        let mut current = self.lock();
        if current.as_ref().is_none_or(|link| link.number != number) {
            return;
        }
        let Some(link) = current.take() else { return };
        drop(current);
        metrics::lost();
        tracing::warn!(redis.node = %link.address, reason, "Redis has no primary");
        self.lost.notify_one();
    }

    /// What an answer, or none in time, says about the primary.
    fn judge<T>(&self, link: &Link, answer: Option<Result<T, RedisError>>) -> Result<T, Error> {
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                if is_lost(&error) {
                    self.lose(link.number, &error.to_string());
                }
                Err(Error::Redis(error))
            }
            None => {
                self.lose(link.number, "no answer in time");
                Err(Error::Late)
            }
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
