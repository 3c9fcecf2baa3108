//! How much waits, for gauges and for people.
//!
//! One replica shows the gauges at a time, so that sums over replicas mean something: who stops
//! leading calls [`forget`].

use std::sync::LazyLock;

use messages::outbox::Destination;
use prometheus::{GaugeVec, register_gauge_vec};
use sqlx::PgExecutor;

/// What of a destination's rows has no recorded effect yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Undelivered rows that are not dead.
    pub undelivered: i64,
    /// Age of the oldest of them in seconds; 0 where there is none.
    pub oldest_seconds: f64,
    /// Seconds since the oldest of the sends that were not answered by an effect; 0 where there
    /// is none.
    pub oldest_send_seconds: f64,
    /// Dead rows.
    pub dead: i64,
}

/// Reads a destination's backlog.
///
/// # Errors
/// The database refused or was away.
pub async fn read(
    database: impl PgExecutor<'_>,
    destination: Destination,
) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) FILTER (WHERE dead_at IS NULL) AS "undelivered!",
            greatest(coalesce(extract(epoch FROM clock_timestamp()
                - min(created_at) FILTER (WHERE dead_at IS NULL))::float8, 0), 0)
                AS "oldest_seconds!",
            greatest(coalesce(extract(epoch FROM clock_timestamp()
                - min(sent_at) FILTER (WHERE dead_at IS NULL))::float8, 0), 0)
                AS "oldest_send_seconds!",
            count(*) FILTER (WHERE dead_at IS NOT NULL) AS "dead!"
        FROM outbox WHERE destination = $1 AND delivered_at IS NULL"#,
        destination.as_str(),
    )
    .fetch_one(database)
    .await
}

/// Shows a destination's backlog as gauges.
pub fn show(destination: Destination, backlog: Backlog) {
    let name = destination.as_str();
    #[allow(clippy::cast_precision_loss)] // a gauge is a float; 2^53 rows are out of reach
    let number = |count: i64| count as f64;
    GAUGES
        .backlog
        .with_label_values(&[name])
        .set(number(backlog.undelivered));
    GAUGES
        .oldest
        .with_label_values(&[name])
        .set(backlog.oldest_seconds);
    GAUGES
        .dead
        .with_label_values(&[name])
        .set(number(backlog.dead));
    GAUGES
        .oldest_send
        .with_label_values(&[destination.queue()])
        .set(backlog.oldest_send_seconds);
}

/// Takes the gauges away: another replica shows them.
pub fn forget() {
    GAUGES.backlog.reset();
    GAUGES.oldest.reset();
    GAUGES.dead.reset();
    GAUGES.oldest_send.reset();
}

struct Gauges {
    backlog: GaugeVec,
    oldest: GaugeVec,
    dead: GaugeVec,
    oldest_send: GaugeVec,
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static GAUGES: LazyLock<Gauges> = LazyLock::new(|| Gauges {
    backlog: register_gauge_vec!(
        "outbox_backlog",
        "Outbox rows without a recorded effect that are not dead, by destination.",
        &["destination"]
    )
    .expect("metric names are unique"),
    oldest: register_gauge_vec!(
        "outbox_oldest_seconds",
        "Age of the oldest outbox row without a recorded effect that is not dead.",
        &["destination"]
    )
    .expect("metric names are unique"),
    dead: register_gauge_vec!(
        "outbox_dead",
        "Dead outbox rows, by destination.",
        &["destination"]
    )
    .expect("metric names are unique"),
    oldest_send: register_gauge_vec!(
        "queue_oldest_message_age_seconds",
        "Time since the oldest send whose row has no recorded effect yet, by queue.",
        &["queue"]
    )
    .expect("metric names are unique"),
});
