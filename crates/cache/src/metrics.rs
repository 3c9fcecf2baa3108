//! How often a cache helped. The children are looked up once, not at each request.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, register_histogram_vec,
    register_int_counter_vec,
};

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "cache_requests_total",
        "Reads of a cache by what they met; an error is a cache that is away.",
        &["cache", "result"]
    )
    .expect("metric names are unique");
    metric
});

static SHARED_LOADS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "cache_shared_loads_total",
        "Reads that waited for the load of another one instead of loading themselves.",
        &["cache"]
    )
    .expect("metric names are unique");
    metric
});

static LOAD_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "cache_load_seconds",
        "Duration of loads from the owner of the truth.",
        &["cache"],
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
        ]
    )
    .expect("metric names are unique");
    metric
});

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) hit: IntCounter,
    pub(crate) miss: IntCounter,
    pub(crate) negative_hit: IntCounter,
    pub(crate) error: IntCounter,
    pub(crate) shared_loads: IntCounter,
    pub(crate) load_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn of(cache: &'static str) -> Self {
        let requests = |result: &'static str| REQUESTS.with_label_values(&[cache, result]);
        Self {
            hit: requests("hit"),
            miss: requests("miss"),
            negative_hit: requests("negative_hit"),
            error: requests("error"),
            shared_loads: SHARED_LOADS.with_label_values(&[cache]),
            load_seconds: LOAD_SECONDS.with_label_values(&[cache]),
        }
    }
}
