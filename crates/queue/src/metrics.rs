//! What consumers say about themselves to Prometheus.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
pub(crate) static MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "queue_messages_total",
        "Messages handled by queue and outcome; failed ones panicked or took too long.",
        &["queue", "outcome"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
pub(crate) static HANDLER_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "queue_handler_seconds",
        "Time that handlers took for a message.",
        &["queue"],
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
        ]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
pub(crate) static RECEIVE_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "queue_receive_errors_total",
        "Receives that failed.",
        &["queue"]
    )
    .expect("metric names are unique")
});

/// Makes every series of `queue` visible from the start.
pub(crate) fn register(queue: &str) {
    for outcome in ["done", "stale", "retried", "poison", "failed"] {
        MESSAGES.with_label_values(&[queue, outcome]);
    }
    HANDLER_SECONDS.with_label_values(&[queue]);
    RECEIVE_ERRORS.with_label_values(&[queue]);
}
