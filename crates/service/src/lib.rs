//! A process: settings, lifecycle, HTTP servers, health.
//!
//! A program's `main` names its settings and its body; everything that all processes share stands
//! here: reading and checking settings, JSON logs, the two HTTP listeners, health, the metrics
//! page, the soft and the hard stop.
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     service::run("booking", booking::start)
//! }
//! ```
//!
//! A body gets its settings and the [`Process`], makes what the process is made of, and returns
//! the routers to serve. Tasks are spawned on the process, which waits for them when it stops.

pub mod database;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod openapi;
pub mod settings;
pub mod wait;

use std::process::ExitCode;
use std::time::Duration;

pub use http::{Doors, TimedDoors};
pub use lifecycle::Process;
pub use settings::Secret;

/// How long a process has to end after SIGTERM before what is left of it is dropped. Container
/// engines wait 10 s.
pub const HARD_STOP_AFTER: Duration = Duration::from_secs(8);

/// The settings every process has, beside its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Listeners {
    /// Address of the public listener, the one that Nginx passes requests to.
    #[arg(long, env = "HTTP_LISTEN", default_value = "0.0.0.0:8080")]
    pub http_listen: std::net::SocketAddr,
    /// Address of the internal listener: health, metrics, /internal.
    #[arg(long, env = "INTERNAL_LISTEN", default_value = "0.0.0.0:9000")]
    pub internal_listen: std::net::SocketAddr,
    /// Log filter: a level, or directives such as `info,sqlx=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// Settings of a process: its own, with [`Listeners`] flattened in.
pub trait Settings: clap::Parser + Send + 'static {
    /// The part that every process has.
    fn listeners(&self) -> &Listeners;
}

/// Runs a process until it is stopped: reads settings, starts logs, calls `body`, serves the doors
/// that it returns. With the single argument `health` it asks the running process for its
/// readiness instead and exits 0 or 1, which is the container's health check.
///
/// The body returns [`Doors`], or [`TimedDoors`] where requests may take longer than elsewhere.
pub fn run<S, F, Fut, D>(name: &'static str, body: F) -> ExitCode
where
    S: Settings,
    F: FnOnce(S, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<D>>,
    D: Into<TimedDoors>,
{
    if std::env::args().nth(1).as_deref() == Some("health") {
        return health::probe();
    }
    let settings: S = match settings::load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::start(name, &settings.listeners().log) {
        eprintln!("{name}: LOG: {error}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime could not be started");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let process = Process::new();
        process.stop_on_signals();
        let listeners = settings.listeners().clone();
        http::serve(listeners, process.clone(), body(settings, process.clone())).await
    });
    runtime.shutdown_timeout(Duration::from_millis(500));
    match outcome {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended with a failure");
            ExitCode::FAILURE
        }
    }
}
