//! A client of Boxoffice that talks to Nginx only, and the history of its attempts.
//!
//! [`Client`] repeats a write that failed in a way that may pass (no answer, 429, 5xx, `busy`) with
//! the same `Idempotency-Key` and the same body, within its retry [`Budget`] and not before
//! `Retry-After`. Every connection and every request has a time-out, and every attempt becomes one
//! record of the [`History`]. [`internal`] and [`bank`] read the books that the checkers compare
//! these records with. The client leaves it to `crowd` and the scenarios to choose requests, and to
//! `checkers` to judge the answers.

mod ask;
pub mod bank;
pub mod booking;
mod budget;
pub mod catalog;
pub mod history;
mod identity;
pub mod internal;
mod types;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use ask::{Answer, Ask, Failure, Operation};
pub use budget::Budget;
pub use reqwest::Method;
pub use types::*;

use crate::history::{History, Record};

/// How long a connection may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt may take: more than the services' own limit of 8 s.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of the door, with a pool of connections to it.
#[derive(Clone, Debug)]
pub struct Door {
    http: reqwest::Client,
    address: String,
}

impl Door {
    /// A door at `address`, such as `http://nginx:8080`.
    ///
    /// # Errors
    /// The client could not be made.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http_client()?,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The pool, for requests that no typed method makes (bad input, other people's things).
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }
}

/// An HTTP client with bounded time-outs that follows no redirects and ignores proxies.
///
/// # Errors
/// The client could not be made.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ATTEMPT_TIMEOUT)
        .pool_max_idle_per_host(128)
        .pool_idle_timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("the HTTP client could not be made")
}

/// A password or key of the stack that this process is joined to, by process and file, such as
/// `crowd/bank_key` (`deploy/secrets/make-secrets.sh`).
///
/// # Errors
/// It cannot be read.
pub fn secret(name: &str) -> anyhow::Result<String> {
    let file = format!("/run/secrets/{name}");
    let text = std::fs::read_to_string(&file).with_context(|| file)?;
    Ok(text.trim().to_owned())
}

/// Somebody in front of the door: an account with its session, or a visitor without one.
#[derive(Clone, Debug)]
pub struct Client {
    door: Door,
    history: Arc<History>,
    budget: Budget,
    session: Option<Session>,
    step: Arc<std::sync::atomic::AtomicU64>,
    name: String,
}

impl Client {
    /// A visitor. `name` becomes part of every key, so it must be unique within the run: the run's
    /// id and the customer's number.
    #[must_use]
    pub fn visitor(door: Door, history: Arc<History>, name: impl Into<String>) -> Self {
        Self {
            door,
            history,
            budget: Budget::default(),
            session: None,
            step: Arc::default(),
            name: name.into(),
        }
    }

    /// The same client with another retry budget.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The same client with a session of its own.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    /// The session, if this is not a visitor.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The account's id, or nil for a visitor.
    #[must_use]
    pub fn account_id(&self) -> Uuid {
        self.session
            .as_ref()
            .map_or(Uuid::nil(), |session| session.account_id)
    }

    /// The door this client stands in front of.
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// What was asked and answered so far, by everybody who shares it.
    #[must_use]
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// A key for the next logical operation: name and step, the same for each of its attempts.
    #[must_use]
    pub fn next_key(&self) -> String {
        let step = self.step.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{}-{step}", self.name)
    }

    /// Asks until there is an answer that will not change by asking again, within the budget.
    ///
    /// # Errors
    /// The last failure: a refusal, or no answer.
    pub async fn insist(&self, ask: &Ask) -> Result<Answer, Failure> {
        let mut tries = self.budget.begin();
        loop {
            let failure = match self.ask_once(ask, tries.made()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !ask.may_be_repeated() || !failure.may_pass() {
                return Err(failure);
            }
            let Some(pause) = tries.next(failure.retry_after()) else {
                return Err(failure);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Insists and reads the answer as `T`.
    ///
    /// # Errors
    /// As [`Client::insist`], or an answer of another shape.
    pub async fn read<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Failure> {
        let answer = self.insist(ask).await?;
        answer.read()
    }

    /// One attempt, written to the history whatever comes of it.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn ask_once(&self, ask: &Ask, attempt: u32) -> Result<Answer, Failure> {
        let asked_at = Utc::now();
        let started = Instant::now();
        let outcome = self.send(ask).await;
        let elapsed = started.elapsed();
        self.history.write(Record::new(
            self.account_id(),
            ask,
            attempt,
            asked_at,
            elapsed,
            &outcome,
        ));
        match outcome {
            Ok(answer) if answer.is_success() => Ok(answer),
            Ok(answer) => Err(Failure::Refused(Box::new(answer))),
            Err(reason) => Err(Failure::NoAnswer(reason)),
        }
    }

    async fn send(&self, ask: &Ask) -> Result<Answer, String> {
        let address = format!("{}{}", self.door.address, ask.path);
        let mut request = self.door.http.request(ask.method.clone(), address);
        if let Some(session) = &self.session {
            request = request.bearer_auth(&session.token);
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| reason(&error))?;
        Answer::from_response(response)
            .await
            .map_err(|error| reason(&error))
    }
}

/// The failure and its sources in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
