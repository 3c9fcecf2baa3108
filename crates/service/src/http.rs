//! The two HTTP listeners of a process.
//!
//! The public one is what Nginx passes requests to. The internal one has `/livez`, `/readyz`,
//! `/metrics` and `/internal`, and Nginx never passes anything to it but its own session check.
//! Health and metrics are open to whoever reaches the process; a service wraps all other routes with
//! [`crate::callers::only`].
//! The internal one opens first, so that health can be asked while the process still waits for
//! its stores.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::health::{self, Readiness};
use crate::lifecycle::GRACE;
use crate::listener::DrainingListener;
use crate::{Body, Listeners, Process};

/// The largest request body. Nginx has the same limit.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How long a request may take before it is answered with 503. Nginx waits longer, so that it is
/// the process that says so, and keeps its connection.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// The same for a read at the public door. Nginx gives up on a read after 2 s and tries another
/// replica, which is right where this one hangs and wrong where it is only slow.
pub const READ_TIMEOUT: Duration = Duration::from_millis(1500);

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
    /// How long a request at the public door may take; [`REQUEST_TIMEOUT`] unless there is a reason.
    /// Reads have [`READ_TIMEOUT`] everywhere.
    pub request_timeout: Duration,
}

/// How long requests of a door may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    reads: Duration,
    others: Duration,
}

impl Patience {
    fn with(self, method: &Method) -> Duration {
        if matches!(*method, Method::GET | Method::HEAD) {
            self.reads
        } else {
            self.others
        }
    }
}

/// Serves health at once, the doors as soon as `body` has made them, until the process is stopped.
pub(crate) async fn serve(
    listeners: Listeners,
    process: Process,
    body: Body,
) -> anyhow::Result<()> {
    let ready = Arc::new(OnceLock::new());
    let internal_listener = bind(listeners.internal_listen).await?;
    let internal = tokio::spawn(
        axum::serve(
            DrainingListener::new(internal_listener, process.clone()),
            once_ready(ready.clone()),
        )
        .with_graceful_shutdown(after_grace(process.clone()))
        .into_future(),
    );
    let doors = tokio::select! {
        doors = body => doors,
        () = process.ended() => return Ok(()),
    };
    let doors = match doors {
        Ok(doors) => doors,
        Err(error) => {
            process.end();
            return Err(error);
        }
    };
    let public_listener = bind(listeners.http_listen).await?;
    let routes = doors
        .internal
        .merge(health::routes(process.clone(), doors.readiness));
    // What is read inside may be long, such as all of an event for a checker.
    let inside = Patience {
        reads: REQUEST_TIMEOUT,
        others: REQUEST_TIMEOUT,
    };
    let _ = ready.set(limited(routes, &process, inside));
    tracing::info!(
        http.listen = %listeners.http_listen,
        internal.listen = %listeners.internal_listen,
        "listening"
    );
    let outside = Patience {
        reads: READ_TIMEOUT,
        others: doors.request_timeout,
    };
    let public_listener = DrainingListener::new(public_listener, process.clone());
    let public = axum::serve(public_listener, limited(doors.public, &process, outside))
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

/// The internal routes once the process has made them; until then it is alive and not ready. All
/// else is answered with 502 and not with 503: so Nginx asks another replica for its session check
/// (`deploy/nginx/conf/session-check.conf`).
fn once_ready(ready: Arc<OnceLock<Router>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let ready = ready.clone();
        async move {
            match ready.get() {
                Some(routes) => routes.clone().oneshot(request).await.into_response(),
                None => match request.uri().path() {
                    "/livez" => "alive\n".into_response(),
                    "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
                    _ => (StatusCode::BAD_GATEWAY, "starting\n").into_response(),
                },
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
fn limited(router: Router, process: &Process, patience: Patience) -> Router {
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
            in_time(patience.with(request.method()), request, next)
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
        .layer(middleware::from_fn(keyed))
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

/// The advice to try again names the key where the request carried one.
async fn keyed(request: Request, next: Next) -> Response {
    let has_key = request.headers().contains_key("idempotency-key");
    let response = next.run(request).await;
    if has_key {
        problem::to_keyed(response)
    } else {
        response
    }
}

/// Each log line of a request carries the id that Nginx gave it and the trace it belongs to.
async fn in_span(request: Request, next: Next) -> Response {
    let span = span_of(request.headers());
    next.run(request).instrument(span).await
}

fn span_of(headers: &HeaderMap) -> tracing::Span {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    tracing::info_span!(
        "request",
        http.request.id = text("x-request-id"),
        trace.id = text("traceparent").and_then(telemetry::trace_id),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body as Content;
    use axum::routing::{any, get, post};
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    use super::*;

    const PATIENT: Patience = Patience {
        reads: Duration::from_secs(60),
        others: Duration::from_secs(60),
    };

    fn request(method: Method) -> Request {
        let request = Request::builder().method(method).uri("/");
        request.body(Content::empty()).unwrap()
    }

    #[tokio::test]
    async fn one_request_more_than_the_limit_is_refused_at_once() {
        let (gate, inside) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let hangs = {
            let (gate, inside) = (gate.clone(), inside.clone());
            any(move || {
                let (gate, inside) = (gate.clone(), inside.clone());
                async move {
                    inside.fetch_add(1, Ordering::SeqCst);
                    drop(gate.acquire().await);
                }
            })
        };
        let door = limited(Router::new().route("/", hangs), &Process::new(), PATIENT);
        let mut hanging = JoinSet::new();
        for _ in 0..CONCURRENCY_LIMIT {
            hanging.spawn(door.clone().oneshot(request(Method::GET)));
        }
        while inside.load(Ordering::SeqCst) < CONCURRENCY_LIMIT {
            tokio::task::yield_now().await;
        }
        for method in [Method::GET, Method::POST] {
            let asked = door.clone().oneshot(request(method));
            // Much sooner than the requests that hang are given up.
            let refused = tokio::time::timeout(Duration::from_secs(10), asked).await;
            let refused = refused.unwrap().unwrap();
            assert_eq!(refused.status(), 503);
            assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        }
        // None that was let in is lost, and then others are let in again.
        gate.add_permits(1);
        for answer in hanging.join_all().await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        let next = door.clone().oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(next.status(), 200);
        assert_eq!(inside.load(Ordering::SeqCst), CONCURRENCY_LIMIT + 1);
    }

    #[tokio::test]
    async fn a_method_that_an_address_does_not_know_is_answered_with_those_it_knows() {
        let routes = Router::new()
            .route("/", get(async || "read").delete(async || "gone"))
            .route("/", post(async || "made"));
        let door = limited(routes, &Process::new(), PATIENT);
        for method in [Method::PUT, Method::PATCH, Method::OPTIONS, Method::TRACE] {
            let answer = door.clone().oneshot(request(method.clone())).await.unwrap();
            assert_eq!(answer.status(), 405, "{method}");
            let content = &answer.headers()[header::CONTENT_TYPE];
            assert_eq!(content, "application/problem+json", "{method}");
            let allowed = answer.headers()[header::ALLOW].to_str().unwrap();
            let mut allowed: Vec<_> = allowed.split(',').collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"], "{method}");
        }
    }

    #[tokio::test]
    async fn the_advice_to_try_again_names_the_key_only_where_there_is_one() {
        let routes = Router::new()
            .route("/", any(async || Problem::unavailable("a part")))
            .route("/busy", any(async || Problem::busy("the rows are in use")))
            .route("/gone", any(async || Problem::not_found("no such row")));
        let door = limited(routes, &Process::new(), PATIENT);
        let said = async |path: &str, key: Option<&str>| {
            let mut request = Request::post(path);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Content::empty()).unwrap();
            let answer = door.clone().oneshot(request).await.unwrap();
            let length = answer.headers()[header::CONTENT_LENGTH].clone();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(length, body.len().to_string().as_str(), "{path}");
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["detail"].as_str().unwrap().to_owned()
        };
        let key = " with the same Idempotency-Key";
        for (path, detail) in [
            ("/", "a part does not answer right now; try again"),
            ("/busy", "the rows are in use; try again"),
        ] {
            assert_eq!(said(path, None).await, detail);
            assert_eq!(said(path, Some("k")).await, format!("{detail}{key}"));
        }
        assert_eq!(said("/gone", Some("k")).await, "no such row");
    }

    #[tokio::test]
    async fn a_process_that_starts_is_alive_and_not_ready_and_leaves_the_rest_to_others() {
        let ready = Arc::new(OnceLock::new());
        let door = once_ready(ready.clone());
        let ask = async |path: &str| {
            let request = Request::builder().uri(path);
            let request = request.body(Content::empty()).unwrap();
            door.clone().oneshot(request).await.unwrap().status()
        };
        for (path, status) in [
            ("/livez", 200),
            ("/readyz", 503),
            ("/internal/session", 502),
        ] {
            assert_eq!(ask(path).await, status, "{path}");
        }
        let session = any(async || StatusCode::NO_CONTENT);
        let routes = Router::new().route("/internal/session", session);
        ready.set(routes).unwrap();
        assert_eq!(ask("/internal/session").await, 204);
    }

    /// How long Nginx waits for an answer, by one of its files.
    fn nginx(file: &str) -> Duration {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx/conf/");
        let text = std::fs::read_to_string(format!("{folder}{file}")).unwrap();
        let value = text.split("proxy_read_timeout ").nth(1).unwrap();
        let (seconds, _) = value.split_once("s;").unwrap();
        Duration::from_secs(seconds.parse().unwrap())
    }

    #[test]
    fn nginx_waits_longer_than_a_request_takes() {
        assert!(READ_TIMEOUT < nginx("read.conf"));
        assert!(REQUEST_TIMEOUT < nginx("long-write.conf"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_given_up_sooner_than_a_write() {
        let slow = Router::new().route(
            "/",
            any(async || tokio::time::sleep(Duration::from_millis(300)).await),
        );
        let patience = Patience {
            reads: Duration::from_millis(30),
            others: Duration::from_secs(10),
        };
        let door = limited(slow, &Process::new(), patience);
        let ask = async |method: Method| door.clone().oneshot(request(method)).await.unwrap();
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(method.clone()).await;
            assert_eq!(answer.status(), 503, "{method}");
            assert_eq!(answer.headers()[header::RETRY_AFTER], "1", "{method}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(ask(method.clone()).await.status(), 200, "{method}");
        }
    }
}
