//! How the leader's tasks run.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramVec, IntCounterVec, register_gauge_vec, register_histogram_vec,
    register_int_counter_vec,
};

/// Counts a run.
pub(super) fn ran(task: &'static str, result: &'static str, took: Duration) {
    RUNS.with_label_values(&[task, result]).inc();
    SECONDS
        .with_label_values(&[task])
        .observe(took.as_secs_f64());
    if result == "succeeded" {
        LAST_SUCCESS.with_label_values(&[task]).set(now());
    }
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static RUNS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "leader_task_runs_total",
        "Runs of the leader's tasks by task and result.",
        &["task", "result"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "leader_task_seconds",
        "Duration of runs of the leader's tasks.",
        &["task"],
        vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static LAST_SUCCESS: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "leader_task_last_success_timestamp_seconds",
        "When a task last ended well on this replica, as Unix time.",
        &["task"]
    )
    .expect("metric names are unique")
});
