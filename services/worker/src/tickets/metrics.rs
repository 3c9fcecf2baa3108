//! How many tickets were rendered and how long each took.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounter, register_histogram, register_int_counter};

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
pub(super) static RENDERED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("tickets_rendered_total", "Tickets whose PDF was stored.")
        .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
pub(super) static SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "ticket_render_seconds",
        "Duration of signing and drawing one ticket.",
        vec![
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0
        ]
    )
    .expect("metric names are unique")
});
