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

pub mod callers;
pub mod database;
pub mod health;
pub mod http;
pub mod lifecycle;
mod listener;
pub mod openapi;
pub mod settings;
pub mod wait;

use std::process::ExitCode;
use std::time::Duration;

pub use callers::Key;
use futures_util::future::BoxFuture;
pub use http::Doors;
pub use lifecycle::Process;
pub use settings::Secret;

/// How long a process has to end after SIGTERM before what is left of it is dropped. Container
/// engines wait 10 s.
pub const HARD_STOP_AFTER: Duration = Duration::from_secs(8);

/// Most threads that work on requests and messages. The runtime would start one a core; what we do
/// waits for stores most of the time, each thread costs memory, and a container may have 64 of them.
const MOST_WORKER_THREADS: usize = 4;

/// Most threads for work that blocks, such as hashing a password or looking up a name; more of it
/// waits for its turn. Each ends when it had nothing to do for a while.
const MOST_BLOCKING_THREADS: usize = 16;

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
    #[arg(long, env = "LOG", default_value = settings::DEFAULT_LOG, value_parser = telemetry::filter)]
    pub log: String,
}

/// Settings of a process: its own, with [`Listeners`] flattened in.
pub trait Settings: clap::Parser + Send + 'static {
    /// The part that every process has.
    fn listeners(&self) -> &Listeners;
}

/// What a process's `start` returns: the doors, once the process has made what it is made of.
///
/// It is boxed so that a program's `main` holds a pointer to its body and not the body itself,
/// which the compiler would otherwise work through once for the library and once for the program.
pub type Body = BoxFuture<'static, anyhow::Result<Doors>>;

/// Runs a process until it is stopped: reads settings, starts logs, calls `body`, serves the doors
/// that it returns. With the single argument `health` it asks the running process for its
/// readiness instead and exits 0 or 1, which is the container's health check.
pub fn run<S: Settings>(name: &'static str, body: fn(S, Process) -> Body) -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("health") {
        return health::probe();
    }
    let settings: S = match settings::load(name) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let listeners = settings.listeners().clone();
    live(
        name,
        listeners,
        Box::new(move |process| body(settings, process)),
    )
}

fn live(
    name: &'static str,
    listeners: Listeners,
    body: Box<dyn FnOnce(Process) -> Body>,
) -> ExitCode {
    if let Err(error) = telemetry::start(name, &listeners.log) {
        tracing::error!(%error, "logging could not be started");
        return ExitCode::FAILURE;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MOST_WORKER_THREADS))
        .max_blocking_threads(MOST_BLOCKING_THREADS)
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
        http::serve(listeners, process.clone(), body(process)).await
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
