//! What a process says about itself: JSON logs on standard output and metrics for Prometheus.
//!
//! Log fields are dotted and the same everywhere (`order.id`, `queue.name`, `leader.token`); where
//! OpenTelemetry has a name for something it is that one (`http.request.id`, `trace.id`). The
//! message reads on its own and the fields can be queried. A panic is a line like any other.
//! Metrics follow Prometheus' conventions (base units, `_total`, `_seconds`).

mod log;
pub mod requests;

use prometheus::{Encoder, TextEncoder};

/// Reads a log filter: a level or a list of directives such as `info,sqlx=warn`.
///
/// # Errors
/// What is wrong with it.
pub fn filter(text: &str) -> Result<String, String> {
    log::filter(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// The id of the trace that a `traceparent` (W3C Trace Context) belongs to.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let trace = traceparent.split('-').nth(1)?;
    let is_id = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(trace)
}

/// Starts JSON logging for the process called `service`, of panics as well. `filter` is a level or
/// a list of directives such as `info,sqlx=warn`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_the_second_part_of_its_context() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(
            trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")),
            Some(trace)
        );
        for bad in ["", "00", "00-short-00f067aa0ba902b7-01", trace] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert_eq!(filter("info,sqlx=debug").as_deref(), Ok("info,sqlx=debug"));
        assert!(filter("sqlx=loud").is_err());
    }
}
