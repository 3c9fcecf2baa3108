//! A sandbox payment provider: idempotent charges, refunds and payouts.
//!
//! It stands outside the trust line of the other services and keeps books of its own, in a SQLite
//! file, so that they share no fate with anybody's database: the books are the independent witness
//! of who was charged, how often and how much.
//!
//! What it promises: a movement is on disk before it is answered; a key (of charge, refund or
//! payout) has at most one movement, is never forgotten, and gives the same answer for ever; a
//! charge is never given back more than once over. The [`sandbox`] numbers make it decline, delay,
//! fail or fall silent. What it leaves to others: time-outs and repetitions are the caller's.

mod access;
mod books;
mod clearing;
mod metrics;
mod routes;
pub mod sandbox;

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use service::health::Readiness;
use service::{Doors, Listeners, Process, Secret};
use tokio_util::sync::CancellationToken;

pub use books::Books;
use clearing::Bank;

/// How long a request may take: longer than the sandbox ever hangs, which is its purpose.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// A sandbox payment provider with books of its own.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bank", version)]
pub struct Settings {
    /// What every process has.
    #[command(flatten)]
    pub listeners: Listeners,
    /// The SQLite file with the books; made where there is none.
    #[arg(long, env = "BOOKS_FILE", default_value = "/data/books.sqlite")]
    pub books_file: PathBuf,
    /// File with the API key that callers have to show.
    #[arg(long, env = "API_KEY_FILE")]
    pub api_key_file: Secret,
}

impl service::Settings for Settings {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}

/// Makes what the process is made of.
///
/// # Errors
/// The books cannot be opened.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    metrics::start();
    let books = Books::open(&settings.books_file).await?;
    let readiness = Readiness::new().needs("books", {
        let books = books.clone();
        move || {
            let books = books.clone();
            async move { books.answer().await }
        }
    });
    let bank = Bank::new(books, settings.api_key_file.reveal(), process.soft_stop());
    Ok(Doors {
        public: routes::router(bank),
        internal: Router::new(),
        readiness,
        request_timeout: REQUEST_TIMEOUT,
    })
}

/// The whole of the bank as a router, for whoever runs it inside another program.
pub fn router(books: Books, api_key: &str) -> Router {
    routes::router(Bank::new(books, api_key, CancellationToken::new()))
}
