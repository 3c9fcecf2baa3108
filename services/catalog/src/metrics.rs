//! What asking other parts looks like from here.

use std::sync::LazyLock;

use prometheus::{IntGauge, register_int_gauge};

/// Whether the circuit to the store of events is open.
pub fn documents_circuit() -> IntGauge {
    DOCUMENTS_CIRCUIT_OPEN.clone()
}

/// Whether the circuit to booking is open.
pub fn booking_circuit() -> IntGauge {
    BOOKING_CIRCUIT_OPEN.clone()
}

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static DOCUMENTS_CIRCUIT_OPEN: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "catalog_documents_circuit_open",
        "1 while the circuit to the store of events is open, else 0."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static BOOKING_CIRCUIT_OPEN: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "catalog_booking_circuit_open",
        "1 while the circuit to booking, which seats are put on sale through, is open, else 0."
    )
    .expect("metric names are unique")
});
