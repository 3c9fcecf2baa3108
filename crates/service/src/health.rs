//! `/livez`, `/readyz`, `/metrics` on the internal listener, and the probe that a container's
//! health check runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use futures_util::future::BoxFuture;

use crate::Process;

/// How long one readiness check may take.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What has to answer before the process counts as ready.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.checks.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Readiness {
    /// Nothing has to answer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that has to answer, by name.
    #[must_use]
    pub fn needs<F, Fut>(mut self, part: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.checks
            .push((part, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Asks every part at once; the names of those that did not answer, with the reason.
    async fn missing(&self) -> Vec<(&'static str, String)> {
        let asked = self.checks.iter().map(|(part, check)| async move {
            match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((*part, format!("{error:#}"))),
                Err(_) => Some((*part, "no answer in time".to_owned())),
            }
        });
        futures_util::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The routes that every process has on its internal listener.
pub(crate) fn routes(process: Process, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route(
            "/readyz",
            get(move || ready(process.clone(), readiness.clone())),
        )
        .route(
            "/metrics",
            get(async || {
                (
                    [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)],
                    telemetry::exposition(),
                )
            }),
        )
}

async fn ready(process: Process, readiness: Readiness) -> (StatusCode, String) {
    if process.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let missing = readiness.missing().await;
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let text = missing
        .iter()
        .map(|(part, reason)| format!("{part}: {reason}\n"))
        .collect();
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Asks the process that listens on `INTERNAL_LISTEN` of this machine whether it is ready.
pub(crate) fn probe() -> ExitCode {
    let port = std::env::var("INTERNAL_LISTEN")
        .ok()
        .and_then(|address| address.parse::<SocketAddr>().ok())
        .map_or(9000, |address| address.port());
    match ask(port) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => ExitCode::SUCCESS,
        Ok(answer) => {
            eprintln!("{answer}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(port: u16) -> std::io::Result<String> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
