//! What a process says about itself: JSON logs on standard output and metrics for Prometheus.
//!
//! Log fields are dotted and the same everywhere (`order.id`, `queue.name`, `leader.token`); the
//! message reads on its own and the fields can be queried. Metrics follow Prometheus' conventions
//! (base units, `_total`, `_seconds`).

mod log;
pub mod requests;

use prometheus::{Encoder, TextEncoder};

/// Starts JSON logging for the process called `service`. `filter` is a level or a list of
/// directives such as `info,sqlx=warn`.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn start(
    service: &'static str,
    filter: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    log::start(service, filter)
}

/// All metrics of the process in Prometheus' text format.
#[must_use]
pub fn exposition() -> String {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        tracing::error!(%error, "metrics could not be written");
    }
    String::from_utf8(text).unwrap_or_default()
}
