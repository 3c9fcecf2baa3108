//! Shows how much waits in the outbox and on the queues, when each task last had an effect, and whose
//! payouts stand still. Only the leader does, so that sums over replicas mean something; it writes
//! nothing and needs no token.

use std::sync::LazyLock;
use std::time::Duration;

use leader::Term;
use messages::outbox::Destination;
use outbox::backlog;
use prometheus::{
    GaugeVec, IntGauge, IntGaugeVec, register_gauge_vec, register_int_gauge, register_int_gauge_vec,
};
use queue::Queue;
use sqlx::PgPool;

use super::{Failure, Task, settle};

/// How often.
const EVERY: Duration = Duration::from_secs(2);

/// The gauges of the backlog.
#[derive(Debug)]
pub struct Gauges {
    pool: PgPool,
    queues: Vec<(Destination, Queue, Queue)>,
}

impl Gauges {
    /// Gauges of each destination's queue and dead-letter queue.
    #[must_use]
    pub fn new(pool: PgPool, queues: Vec<(Destination, Queue, Queue)>) -> Self {
        Self { pool, queues }
    }

    /// Shows what the database remembers of the leader's tasks, whoever led.
    ///
    /// # Errors
    /// The database was away.
    pub async fn show_tasks(&self) -> Result<(), sqlx::Error> {
        let effects = sqlx::query!(
            r#"SELECT task, extract(epoch FROM last_effect_at)::float8 AS "at!"
            FROM leader_tasks WHERE last_effect_at IS NOT NULL"#
        )
        .fetch_all(&self.pool)
        .await?;
        for effect in effects {
            LAST_EFFECT
                .with_label_values(&[&effect.task])
                .set(effect.at);
        }
        STOPPED.set(settle::stopped(&self.pool).await?);
        Ok(())
    }
}

/// Takes the gauges away: another replica shows them.
pub fn forget() {
    backlog::forget();
    MESSAGES.reset();
    LAST_EFFECT.reset();
    STOPPED.set(0);
}

impl Task for Gauges {
    fn name(&self) -> &'static str {
        "gauges"
    }

    async fn run(&self, _: &Term) -> Result<Duration, Failure> {
        self.show_tasks().await?;
        for (destination, queue, dead_letters) in &self.queues {
            backlog::show(*destination, backlog::read(&self.pool, *destination).await?);
            let show = |state: &str, count: u64| {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                MESSAGES
                    .with_label_values(&[destination.queue(), state])
                    .set(count);
            };
            let counts = queue.counts().await?;
            show("visible", counts.visible + counts.delayed);
            show("in_flight", counts.in_flight);
            let dead = dead_letters.counts().await?;
            show("dead", dead.visible + dead.in_flight + dead.delayed);
        }
        Ok(EVERY)
    }
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static MESSAGES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "queue_messages",
        "About how many messages a queue has: visible, in flight, and dead in its dead-letter queue.",
        &["queue", "state"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static LAST_EFFECT: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "leader_task_last_effect_timestamp_seconds",
        "When a transaction of a task last took effect, as Unix time: what the database remembers.",
        &["task"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static STOPPED: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "settle_stopped_events",
        "Events whose payouts the bank refused again and again, so that they wait for the next day."
    )
    .expect("metric names are unique")
});
