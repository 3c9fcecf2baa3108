//! What the election says about itself to Prometheus.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounterVec, IntGauge, IntGaugeVec, register_histogram, register_int_counter_vec,
    register_int_gauge, register_int_gauge_vec,
};

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
pub(crate) static IS_LEADING: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "leader_is_leading",
        "1 while this process may act as the leader."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
static CANDIDATE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "leader_candidate_info",
        "1, with the name under which this process stands for election.",
        &["name"]
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
pub(crate) static FENCE_TOKEN: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "leader_fence_token",
        "Fencing token of this process's last term."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
pub(crate) static TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let metric = register_int_counter_vec!(
        "leader_transitions_total",
        "Beginnings and ends of this process's terms.",
        &["event"]
    )
    .expect("metric names are unique");
    for event in ["elected", "resigned", "lost", "refused"] {
        metric.with_label_values(&[event]);
    }
    metric
});

#[allow(clippy::expect_used)] // as above
pub(crate) static RENEWAL_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "leader_renewal_seconds",
        "Time until etcd answered a renewal of the lease.",
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5
        ]
    )
    .expect("metric names are unique")
});

/// Makes every series visible from the start.
pub(crate) fn register(candidate: &str) {
    CANDIDATE.with_label_values(&[candidate]).set(1);
    IS_LEADING.set(0);
    LazyLock::force(&FENCE_TOKEN);
    LazyLock::force(&TRANSITIONS);
    LazyLock::force(&RENEWAL_SECONDS);
}
