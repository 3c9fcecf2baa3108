//! What the bank counts.

use std::sync::LazyLock;

use messages::bank::{Kind, Outcome};
use prometheus::{IntCounterVec, register_int_counter_vec};

use crate::books::{kind_text, outcome_text};

static MOVEMENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "bank_movements_total",
        "Movements written into the books, by kind and outcome.",
        &["kind", "outcome"]
    )
    .expect("metric names are unique");
    metric
});

/// Shows every counter from the start, at nothing.
pub(crate) fn start() {
    for kind in [Kind::Charge, Kind::Refund, Kind::Payout] {
        for outcome in [Outcome::Succeeded, Outcome::Declined] {
            let _ = MOVEMENTS.with_label_values(&[kind_text(kind), outcome_text(outcome)]);
        }
    }
}

/// Counts a movement that was just written down.
pub(crate) fn written(kind: Kind, outcome: Outcome) {
    MOVEMENTS
        .with_label_values(&[kind_text(kind), outcome_text(outcome)])
        .inc();
}
