//! How orders were settled.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, register_int_counter_vec};

/// Shows the counts before there is anything to count.
pub(super) fn show() {
    for result in ["paid", "declined", "expired", "cancelling", "cancelled"] {
        SETTLED.with_label_values(&[result]);
    }
}

/// Counts an order whose settlement is committed.
pub(super) fn settled(result: &'static str) {
    SETTLED.with_label_values(&[result]).inc();
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static SETTLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "orders_settled_total",
        "Orders whose payment or refund took effect, by result.",
        &["result"]
    )
    .expect("metric names are unique")
});
