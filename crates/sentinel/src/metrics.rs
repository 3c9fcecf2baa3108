//! What following the primary says about itself to Prometheus.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Gauge, IntCounter, IntGauge, register_gauge, register_int_counter, register_int_gauge,
};

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static PRIMARY_UP: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "sentinel_primary_up",
        "1 while this process has a connection to the primary of Redis."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
static LOST: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "sentinel_primary_lost_total",
        "How often this process lost the primary of Redis."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
static SWITCHES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "sentinel_switches_total",
        "How often this process followed the sentinels to another primary of Redis."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
static LAST_SWITCH: LazyLock<Gauge> = LazyLock::new(|| {
    register_gauge!(
        "sentinel_last_switch_timestamp_seconds",
        "When this process last followed the sentinels to another primary, since the epoch; 0 before it did."
    )
    .expect("metric names are unique")
});

/// Makes every series visible from the start.
pub(crate) fn register() {
    LazyLock::force(&PRIMARY_UP);
    LazyLock::force(&LOST);
    LazyLock::force(&SWITCHES);
    LazyLock::force(&LAST_SWITCH);
}

pub(crate) fn found() {
    PRIMARY_UP.set(1);
}

pub(crate) fn lost() {
    PRIMARY_UP.set(0);
    LOST.inc();
}

pub(crate) fn switched() {
    SWITCHES.inc();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    LAST_SWITCH.set(now.unwrap_or_default().as_secs_f64());
}
