//! The two HTTP listeners of a process.
//!
//! The public one is what Nginx passes requests to. The internal one has `/livez`, `/readyz`,
//! `/metrics` and `/internal`, and Nginx never passes anything to it but its own session check.
//! The internal one opens first, so that health can be asked while the process still waits for
//! its stores.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::health::{self, Readiness};
use crate::lifecycle::GRACE;
use crate::{Listeners, Process};

/// The largest request body. Nginx has the same limit.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How long a request may take before it is answered with 503, unless a process asks for another
/// limit by [`Doors::request_timeout`].
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// Most requests a process answers at once; above it they are refused with 503 straight away.
pub const CONCURRENCY_LIMIT: usize = 512;

/// What a process serves.
#[derive(Debug)]
pub struct Doors {
    /// Routes for the world, behind Nginx.
    pub public: Router,
    /// Routes for the other processes.
    pub internal: Router,
    /// What has to answer before the process counts as ready.
    pub readiness: Readiness,
}

impl Doors {
    /// The same doors with another limit than [`REQUEST_TIMEOUT`] for requests at the public one.
    #[must_use]
    pub fn request_timeout(self, limit: Duration) -> TimedDoors {
        TimedDoors {
            doors: self,
            request_timeout: limit,
        }
    }
}

/// [`Doors`] with a limit of their own for how long a request may take.
#[derive(Debug)]
pub struct TimedDoors {
    doors: Doors,
    request_timeout: Duration,
}

impl From<Doors> for TimedDoors {
    fn from(doors: Doors) -> Self {
        doors.request_timeout(REQUEST_TIMEOUT)
    }
}

/// Serves health at once, the doors as soon as `body` has made them, until the process is stopped.
pub(crate) async fn serve<D: Into<TimedDoors>>(
    listeners: Listeners,
    process: Process,
    body: impl Future<Output = anyhow::Result<D>>,
) -> anyhow::Result<()> {
    let ready = Arc::new(OnceLock::new());
    let internal_listener = bind(listeners.internal_listen).await?;
    let internal = tokio::spawn(
        axum::serve(internal_listener, once_ready(ready.clone()))
            .with_graceful_shutdown(after_grace(process.clone()))
            .into_future(),
    );
    let doors = tokio::select! {
        doors = body => doors,
        () = process.ended() => return Ok(()),
    };
    let TimedDoors {
        doors,
        request_timeout,
    } = match doors {
        Ok(doors) => doors.into(),
        Err(error) => {
            process.end();
            return Err(error);
        }
    };
    let public_listener = bind(listeners.http_listen).await?;
    let routes = doors
        .internal
        .merge(health::routes(process.clone(), doors.readiness));
    let _ = ready.set(limited(routes, &process, REQUEST_TIMEOUT));
    tracing::info!(
        http.listen = %listeners.http_listen,
        internal.listen = %listeners.internal_listen,
        "listening"
    );
    let public = axum::serve(
        public_listener,
        limited(doors.public, &process, request_timeout),
    )
    .with_graceful_shutdown(after_grace(process.clone()))
    .into_future();
    let served = async { tokio::join!(public, internal) };
    tokio::select! {
        (public, internal) = served => {
            public?;
            internal??;
        }
        () = process.ended() => tracing::warn!("connections are dropped by the hard stop"),
    }
    process.wait_for_tasks().await;
    Ok(())
}

/// The internal routes once the process has made them; until then it is alive and not ready.
fn once_ready(ready: Arc<OnceLock<Router>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let ready = ready.clone();
        async move {
            match ready.get() {
                Some(routes) => routes.clone().oneshot(request).await.into_response(),
                None if request.uri().path() == "/livez" => "alive\n".into_response(),
                None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
            }
        }
    })
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// While draining, kept-alive connections are still answered for a moment, each answer asking the
/// other side to close: a request already on its way is not lost.
async fn after_grace(process: Process) {
    process.draining().await;
    tokio::time::sleep(GRACE).await;
}

/// The layers that every door has, outermost first: measure, shed, catch panics, limit time,
/// limit the body.
fn limited(router: Router, process: &Process, request_timeout: Duration) -> Router {
    let process = process.clone();
    let permits = Arc::new(tokio::sync::Semaphore::new(CONCURRENCY_LIMIT));
    router
        .fallback(async || Problem::not_found("no such address"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
                "this address knows other methods",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            in_time(request_timeout, request, next)
        }))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let permits = permits.clone();
            async move {
                let Ok(_permit) = permits.try_acquire() else {
                    return Problem::unavailable("this process, which has all hands full,")
                        .into_response();
                };
                next.run(request).await
            }
        }))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let process = process.clone();
            async move {
                let mut response = next.run(request).await;
                if process.is_draining() {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }))
        .layer(middleware::from_fn(telemetry::requests::measure))
        .layer(middleware::from_fn(in_span))
}

/// Each log line of a request carries the id that Nginx gave it and the trace it belongs to.
async fn in_span(request: Request, next: Next) -> Response {
    let span = span_of(request.headers());
    next.run(request).instrument(span).await
}

fn span_of(headers: &HeaderMap) -> tracing::Span {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    tracing::info_span!(
        "request",
        http.request.id = text("x-request-id"),
        trace.parent = text("traceparent"),
    )
}

async fn in_time(limit: Duration, request: Request, next: Next) -> Response {
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::unavailable("a part that this request waits for").into_response()
        })
}

fn panicked(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned());
    Problem::internal(text).into_response()
}
