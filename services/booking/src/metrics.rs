//! What this service counts beside what every process counts.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, register_int_counter_vec};

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

/// Shows the results that matter from the start, as zero.
pub fn register() {
    for result in [
        "placed",
        "repeated",
        "sold-out",
        "seats-taken",
        "seats-busy",
        "event-began",
    ] {
        HOLDS.with_label_values(&[result]).inc_by(0);
    }
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
