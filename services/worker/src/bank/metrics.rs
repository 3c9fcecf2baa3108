//! What asking `bank` looks like from here.

use std::sync::LazyLock;

use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, register_histogram_vec,
    register_int_counter_vec, register_int_gauge_vec,
};

/// Shows the counts before there is anything to count.
pub(super) fn show() {
    for operation in ["charge", "cancellation", "refund", "payout"] {
        SECONDS.with_label_values(&[operation]);
        for outcome in ["succeeded", "declined", "timeout", "error", "open"] {
            REQUESTS.with_label_values(&[operation, outcome]);
        }
    }
    for outcome in ["succeeded", "timeout", "error"] {
        REQUESTS.with_label_values(&["probe", outcome]);
    }
}

/// Whether a circuit is open.
pub(super) fn circuit(name: &'static str) -> IntGauge {
    CIRCUIT_OPEN.with_label_values(&[name])
}

/// Counts one call, or one that the open circuit refused.
pub(super) fn count(operation: &'static str, outcome: &'static str) {
    REQUESTS.with_label_values(&[operation, outcome]).inc();
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "bank_requests_total",
        "Calls to the bank by operation and outcome; `open` were refused by the circuit breaker, \
         probes ask whether the bank is there.",
        &["operation", "outcome"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
pub(super) static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "bank_request_seconds",
        "Duration of calls to the bank, time-outs included, by operation.",
        &["operation"],
        vec![
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
        ]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static CIRCUIT_OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "bank_circuit_open",
        "1 while a circuit to the bank is open, else 0: one for payments, one for payouts.",
        &["circuit"]
    )
    .expect("metric names are unique")
});
