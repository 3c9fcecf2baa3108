//! The crowd's metrics, for Prometheus.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};

use crate::history::{Outcome, Record};

static OPERATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "crowd_operations_total",
        "Attempts of the crowd by operation and outcome.",
        &["operation", "outcome"]
    )
    .expect("metric names are unique");
    metric
});

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "crowd_operation_seconds",
        "Time from asking to the answer, as the crowd saw it.",
        &["operation"],
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
        ]
    )
    .expect("metric names are unique");
    metric
});

/// Counts one attempt.
pub(super) fn count(record: &Record) {
    let outcome = match &record.outcome {
        Outcome::Answered {
            status: 200..300, ..
        } => "ok",
        Outcome::Answered { status: 500.., .. } => "failed",
        Outcome::Answered { .. } => "refused",
        Outcome::Unknown { .. } => "no_answer",
    };
    let operation = record.operation.as_str();
    OPERATIONS.with_label_values(&[operation, outcome]).inc();
    SECONDS
        .with_label_values(&[operation])
        .observe(record.elapsed().as_secs_f64());
}
