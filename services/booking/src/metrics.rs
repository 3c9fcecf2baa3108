//! What this service counts beside what every process counts.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{Gauge, IntCounterVec, register_gauge, register_int_counter_vec};

/// Requests for holds, by how they ended.
static HOLDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "booking_holds_total",
        "Requests for holds by result: placed, repeated, or the kind of problem.",
        &["result"]
    )
    .expect("metric names are unique");
    metric
});

/// Requests for orders, by how they ended.
static ORDERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "booking_orders_total",
        "Requests for orders by result: placed, repeated, or the kind of problem.",
        &["result"]
    )
    .expect("metric names are unique");
    metric
});

/// Where the seat overview was read.
static OVERVIEW: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "booking_overview_reads_total",
        "Reads of the seat overview by the node they were made on: standby, primary, or a standby \
         that was old while no primary answered.",
        &["node"]
    )
    .expect("metric names are unique");
    metric
});

/// How old standbys are.
static STANDBY_AGE: LazyLock<Gauge> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_gauge!(
        "booking_standby_age_seconds",
        "Age of what the standby had that was asked last, by the primary's heartbeat."
    )
    .expect("metric names are unique");
    metric
});

/// Shows the results that matter from the start, as zero.
pub fn register() {
    for result in [
        "placed",
        "repeated",
        "sold-out",
        "seats-taken",
        "seats-busy",
        "seat-limit-reached",
        "event-began",
    ] {
        HOLDS.with_label_values(&[result]).inc_by(0);
    }
    for node in ["standby", "primary", "old_standby"] {
        OVERVIEW.with_label_values(&[node]).inc_by(0);
    }
    STANDBY_AGE.set(0.0);
    for result in ["placed", "repeated", "hold-expired", "event-began"] {
        ORDERS.with_label_values(&[result]).inc_by(0);
    }
}

/// Counts a request for a hold. `result` is one of a fixed set.
pub fn hold(result: &'static str) {
    HOLDS.with_label_values(&[result]).inc();
}

/// Counts a request for an order. `result` is one of a fixed set.
pub fn order(result: &'static str) {
    ORDERS.with_label_values(&[result]).inc();
}

/// Counts a read of the seat overview. `node` is one of a fixed set.
pub fn overview(node: &'static str) {
    OVERVIEW.with_label_values(&[node]).inc();
}

/// Shows how old a standby is.
pub fn standby_age(age: Duration) {
    STANDBY_AGE.set(age.as_secs_f64());
}
