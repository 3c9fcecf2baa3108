//! The leader's office: the tasks as they are made of the parts of the process, and a term of them.

use std::sync::Arc;
use std::time::Duration;

use leader::Term;
use messages::outbox::Destination;
use queue::Queue;
use sqlx::PgPool;

use crate::bank::Bank;
use crate::settings::Settings;
use crate::tasks::Loops;
use crate::tasks::dead_letters::DeadLetters;
use crate::tasks::gauges::{self, Gauges};
use crate::tasks::prune::Prune;
use crate::tasks::relay::Relay;
use crate::tasks::settle::Settle;
use crate::tasks::status::{Report, Statuses};
use crate::tasks::sweep::Sweep;

/// All tasks of the leader. They outlive a term: what one term's settle has under way, the next
/// one of this replica knows of.
#[derive(Debug)]
pub struct Office {
    relays: Vec<Arc<Relay>>,
    sweep: Arc<Sweep>,
    settle: Arc<Settle>,
    dead_letters: Arc<DeadLetters>,
    prune: Arc<Prune>,
    gauges: Arc<Gauges>,
    report: Arc<Report>,
    statuses: Statuses,
}

impl Office {
    /// The tasks on `booking`'s database, the queues and the bank.
    #[must_use]
    pub fn new(
        settings: &Settings,
        pool: &PgPool,
        sqs: &impl Fn(&'static str) -> Queue,
        bank: Arc<Bank>,
        statuses: &Statuses,
    ) -> Self {
        let resend = Duration::from_secs(settings.resend_seconds);
        let relays = Destination::ALL
            .map(|to| Arc::new(Relay::new(pool.clone(), sqs(to.queue()), to, resend)));
        let dead = Destination::ALL.map(|to| (to, sqs(to.dead_letter_queue())));
        let both = Destination::ALL.map(|to| (to, sqs(to.queue()), sqs(to.dead_letter_queue())));
        let period = Duration::from_secs(settings.settlement_seconds);
        let every = Duration::from_secs(settings.sweep_seconds);
        Self {
            relays: relays.into(),
            sweep: Arc::new(Sweep::new(pool.clone(), every)),
            settle: Arc::new(Settle::new(pool.clone(), bank, statuses.clone(), period)),
            dead_letters: Arc::new(DeadLetters::new(pool.clone(), dead.into())),
            prune: Arc::new(Prune::new(pool.clone(), settings.event_keep())),
            gauges: Arc::new(Gauges::new(pool.clone(), both.into())),
            report: Arc::new(Report::new(pool.clone(), statuses.clone())),
            statuses: statuses.clone(),
        }
    }

    /// Runs all tasks until the term has ended and the runs in hand have returned.
    pub async fn lead(&self, term: Term) {
        self.statuses.clear();
        let mut loops = Loops::new(term, self.statuses.clone());
        for relay in &self.relays {
            loops.begin(relay);
        }
        loops.begin(&self.sweep);
        loops.begin(&self.settle);
        loops.begin(&self.dead_letters);
        loops.begin(&self.prune);
        loops.begin(&self.gauges);
        loops.begin(&self.report);
        loops.ended().await;
        gauges::forget();
    }
}
