//! What the leader does: relay the outbox, sweep expired holds, settle with organisers, mark dead
//! rows, prune, show the backlog.
//!
//! Each task runs in a loop of its own for as long as the term lasts, so that a slow one delays no
//! other. A run is begun only while the term may act; once begun it is not cancelled, and its
//! transactions check and store the token: whether a late write takes effect is decided there.
//!
//! What this promises: a failed or panicking run is followed by the next one. What it leaves to
//! others: who leads (crate `leader`), and the order of tokens ([`fence`](crate::fence)).

pub mod dead_letters;
pub mod gauges;
mod metrics;
pub mod prune;
pub mod relay;
pub mod settle;
pub mod status;
pub mod sweep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use leader::Term;
use tokio::task::JoinSet;

use crate::{bank, fence};
use status::Statuses;

/// The pause after a run that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How long a run may take. All that it asks has limits of its own, but those of the database are
/// kept by the database: behind a network that is cut nobody keeps them, while the lease goes on.
pub(crate) const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another leader's token is greater.
    #[error("refused by the fencing token")]
    Refused,
    /// The database refused or was away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The queue refused or was away.
    #[error("the queue failed: {0}")]
    Queue(#[from] queue::Error),
    /// The bank refused or was away.
    #[error(transparent)]
    Bank(#[from] bank::Failure),
    /// Rows could not be put on the queue.
    #[error("{failed} of {all} rows could not be sent: {reason}")]
    NotSent {
        /// How many could not.
        failed: usize,
        /// Of how many.
        all: usize,
        /// What the queue said of one of them.
        reason: String,
    },
}

impl From<fence::Failure> for Failure {
    fn from(failure: fence::Failure) -> Self {
        match failure {
            fence::Failure::Refused => Self::Refused,
            fence::Failure::Database(error) => Self::Database(error),
        }
    }
}

/// A task of the leader.
pub trait Task: Send + Sync + 'static {
    /// Its name in metrics, logs and the table of tasks.
    fn name(&self) -> &'static str;

    /// Runs once under a term's token. Answers how long to wait until the next run.
    fn run(&self, term: &Term) -> impl Future<Output = Result<Duration, Failure>> + Send;
}

/// The loops of one term.
#[derive(Debug)]
pub struct Loops {
    term: Term,
    statuses: Statuses,
    loops: JoinSet<()>,
}

impl Loops {
    /// No loops yet.
    #[must_use]
    pub fn new(term: Term, statuses: Statuses) -> Self {
        Self {
            term,
            statuses,
            loops: JoinSet::new(),
        }
    }

    /// Begins a task's loop.
    pub fn begin<T: Task>(&mut self, task: &Arc<T>) {
        fence::show(task.name());
        self.loops.spawn(repeat(
            task.clone(),
            self.term.clone(),
            self.statuses.clone(),
        ));
    }

    /// Waits until every loop has ended, which they do soon after the term has. Dropped before
    /// that, it lets runs in flight go on unattended.
    pub async fn ended(mut self) {
        while self.loops.join_next().await.is_some() {}
    }
}

async fn repeat<T: Task>(task: Arc<T>, term: Term, statuses: Statuses) {
    while term.may_act() {
        let started = Instant::now();
        // A task of its own: a panic ends the run and not the loop, and a loop that is dropped
        // leaves the run to its end.
        let run = {
            let (task, term) = (task.clone(), term.clone());
            tokio::spawn(async move {
                let run = tokio::time::timeout(RUN_LIMIT, task.run(&term));
                run.await
                    .unwrap_or_else(|late| Err(Failure::Database(sqlx::Error::Io(late.into()))))
            })
        };
        let pause = match run.await {
            Ok(result) => conclude(task.name(), &term, &statuses, started.elapsed(), result),
            Err(error) => {
                tracing::error!(task.name = task.name(), %error, "a run of a task panicked");
                statuses.failed(task.name(), started.elapsed(), &error.to_string());
                metrics::ran(task.name(), "panicked", started.elapsed());
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = term.ended() => {}
        }
    }
}

/// Notes how a run ended. A refused leader resigns.
fn conclude(
    task: &'static str,
    term: &Term,
    statuses: &Statuses,
    took: Duration,
    result: Result<Duration, Failure>,
) -> Duration {
    match result {
        Ok(pause) => {
            statuses.succeeded(task, took);
            metrics::ran(task, "succeeded", took);
            pause
        }
        Err(failure) => {
            statuses.failed(task, took, &failure.to_string());
            if matches!(failure, Failure::Refused) {
                fence::refused(task, term.token());
                metrics::ran(task, "refused", took);
                term.refused();
            } else {
                tracing::warn!(task.name = task, error = %failure, "a run of a task failed");
                metrics::ran(task, "failed", took);
            }
            AFTER_FAILURE
        }
    }
}
