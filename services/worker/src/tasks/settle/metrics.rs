//! What became of payouts.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, register_int_counter_vec};

use crate::tasks::Failure;

/// Shows the counts before there is a payout.
pub(super) fn show() {
    for outcome in ["paid", "refused", "failed", "fenced"] {
        PAYOUTS.with_label_values(&[outcome]);
    }
}

/// Counts a payout whose end was recorded: `paid` or `refused`.
pub(super) fn recorded(outcome: &'static str) {
    PAYOUTS.with_label_values(&[outcome]).inc();
}

/// Counts a try that came to nothing.
pub(super) fn failed(failure: &Failure) {
    let outcome = match failure {
        Failure::Refused => "fenced",
        _ => "failed",
    };
    PAYOUTS.with_label_values(&[outcome]).inc();
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static PAYOUTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "settle_payouts_total",
        "Payouts to organisers by outcome: paid, refused by the bank for good, failed and to be \
         tried again, or fenced because another leader took over.",
        &["outcome"]
    )
    .expect("metric names are unique")
});
