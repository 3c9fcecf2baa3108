//! Rate, errors and duration of HTTP requests by route.

use std::sync::LazyLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramVec, IntGauge, register_histogram_vec, register_int_gauge};

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "http_server_request_duration_seconds",
        "Duration of HTTP requests by method, route and status.",
        &["method", "route", "status"],
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
        ]
    )
    .expect("metric names are unique");
    metric
});

static ACTIVE: LazyLock<IntGauge> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_gauge!(
        "http_server_active_requests",
        "HTTP requests that are being answered."
    )
    .expect("metric names are unique");
    metric
});

/// Keeps the gauge true also when a request is dropped because its client went away.
struct Active;

impl Active {
    fn begin() -> Self {
        ACTIVE.inc();
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.dec();
    }
}

/// Measures each request and logs it at `debug`; the access log is Nginx's.
pub async fn measure(request: Request, next: Next) -> Response {
    let method = label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let _active = Active::begin();
    let started = Instant::now();
    let response = next.run(request).await;
    let elapsed = started.elapsed();
    let status = response.status();
    SECONDS
        .with_label_values(&[method, route.as_str(), status.as_str()])
        .observe(elapsed.as_secs_f64());
    tracing::debug!(
        http.request.method = method,
        http.route = route,
        http.response.status_code = status.as_u16(),
        duration.seconds = elapsed.as_secs_f64(),
        "request answered"
    );
    response
}

/// The method as a label. Anybody can make up methods, and each label value is a time series: what
/// HTTP does not know is `_OTHER`, as OpenTelemetry has it.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => "CONNECT",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_methods_share_one_label() {
        for known in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
            assert_eq!(label(&known.parse().unwrap()), known);
        }
        for made_up in ["get", "BREW", "X", &"M".repeat(40)] {
            assert_eq!(label(&made_up.parse().unwrap()), "_OTHER", "{made_up}");
        }
    }
}
