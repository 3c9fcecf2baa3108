//! Asking `bank`: time-outs, bounded repetition, a circuit breaker.
//!
//! What this promises: a call ends within its patience plus one time-out; it is repeated here only
//! after a definite answer that nothing happened, or where `bank` was not reached at all. An
//! answer that did not come is handed to the caller as [`Failure::Unknown`], who asks again with
//! the same key. What it leaves to others: the keys, and that no transaction is open meanwhile.

pub mod breaker;
mod metrics;

use std::time::Duration;

use anyhow::Context;
use messages::bank::{ChargeRequest, Movement, Outcome, PayoutRequest, RefundRequest};
use reqwest::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use breaker::Breaker;

/// How long `bank` may take to answer a charge or a refund.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer a payout, which nobody waits for.
const PAYOUT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a charge or refund is tried while `bank` cannot be reached. A message that is in hand
/// meanwhile is not received again, so an outage uses up few of its receives.
const PAYMENT_PATIENCE: Duration = Duration::from_secs(45);
/// The same of a payout, which is taken up again by the next run of its task.
const PAYOUT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a call is made at most that `bank` answers with a failure of its own.
const MAX_FAILURES: u32 = 3;

/// Why there is no movement to show.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No answer, so nobody knows whether money moved: ask again with the same key.
    #[error("the bank's answer did not come: {0}")]
    Unknown(#[source] reqwest::Error),
    /// Nothing happened: `bank` could not be reached or failed, for longer than we wait.
    #[error("the bank is away: {0}")]
    Away(String),
    /// Nothing happened, and asking again the same way will not help.
    #[error("the bank refused the request with {0}: {1}")]
    Refused(StatusCode, String),
    /// This process stops.
    #[error("stopped while the bank was away")]
    Stopped,
}

/// A client of `bank`.
#[derive(Debug)]
pub struct Bank {
    http: reqwest::Client,
    url: String,
    key: String,
    breaker: Breaker,
    stop: CancellationToken,
}

/// One thing to ask.
struct Call<'a, B> {
    operation: &'static str,
    key: &'a str,
    body: &'a B,
    timeout: Duration,
    patience: Duration,
}

/// What came of one try.
enum Tried {
    Answered(Movement),
    /// Definitely nothing happened; `counted` failures are bounded, an unreachable bank by time.
    Nothing {
        reason: String,
        counted: bool,
    },
}

impl Bank {
    /// A client of the bank at `url`, which waits no longer once `stop` is asked for.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(url: &str, key: &str, stop: CancellationToken) -> anyhow::Result<Self> {
        metrics::show();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(PAYOUT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .context("the client of the bank")?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
            breaker: Breaker::new(metrics::CIRCUIT_OPEN.clone()),
            stop,
        })
    }

    /// Takes money from a card.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn charge(&self, key: &str, body: &ChargeRequest) -> Result<Movement, Failure> {
        self.ask(Call {
            operation: "charge",
            key,
            body,
            timeout: PAYMENT_TIMEOUT,
            patience: PAYMENT_PATIENCE,
        })
        .await
    }

    /// Gives a charge back.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn refund(&self, key: &str, body: &RefundRequest) -> Result<Movement, Failure> {
        self.ask(Call {
            operation: "refund",
            key,
            body,
            timeout: PAYMENT_TIMEOUT,
            patience: PAYMENT_PATIENCE,
        })
        .await
    }

    /// Pays an organiser.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn pay_out(&self, key: &str, body: &PayoutRequest) -> Result<Movement, Failure> {
        self.ask(Call {
            operation: "payout",
            key,
            body,
            timeout: PAYOUT_TIMEOUT,
            patience: PAYOUT_PATIENCE,
        })
        .await
    }

    async fn ask<B: Serialize + Sync>(&self, call: Call<'_, B>) -> Result<Movement, Failure> {
        let deadline = Instant::now() + call.patience;
        let mut failures = 0;
        loop {
            let (reason, wait) = match self.breaker.permit() {
                Err(wait) => {
                    metrics::count(call.operation, "open");
                    ("the circuit is open".to_owned(), wait)
                }
                Ok(permit) => {
                    let started = Instant::now();
                    let tried = self.once(&call, permit).await;
                    metrics::SECONDS
                        .with_label_values(&[call.operation])
                        .observe(started.elapsed().as_secs_f64());
                    match tried? {
                        Tried::Answered(movement) => return Ok(movement),
                        Tried::Nothing { reason, counted } => {
                            failures += u32::from(counted);
                            (reason, jitter(failures))
                        }
                    }
                }
            };
            if failures >= MAX_FAILURES || Instant::now() + wait > deadline {
                return Err(Failure::Away(reason));
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(Failure::Stopped),
            }
        }
    }

    async fn once<B: Serialize + Sync>(
        &self,
        call: &Call<'_, B>,
        permit: breaker::Permit<'_>,
    ) -> Result<Tried, Failure> {
        let answer = self
            .http
            .post(format!("{}/v1/{}s", self.url, call.operation))
            .bearer_auth(&self.key)
            .header("idempotency-key", call.key)
            .timeout(call.timeout)
            .json(call.body)
            .send()
            .await;
        let response = match answer {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                metrics::count(call.operation, "error");
                return Ok(Tried::Nothing {
                    reason: chain(&error),
                    counted: false,
                });
            }
            Err(error) => return Err(unknown(call.operation, error)),
        };
        let status = response.status();
        if status.is_server_error() {
            metrics::count(call.operation, "error");
            return Ok(Tried::Nothing {
                reason: format!("it answered {status}"),
                counted: true,
            });
        }
        if !status.is_success() {
            permit.answered();
            metrics::count(call.operation, "error");
            let text: String = response
                .text()
                .await
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            return Err(Failure::Refused(status, text));
        }
        match response.json::<Movement>().await {
            Ok(movement) => {
                permit.answered();
                let outcome = match movement.outcome {
                    Outcome::Succeeded => "succeeded",
                    Outcome::Declined => "declined",
                };
                metrics::count(call.operation, outcome);
                Ok(Tried::Answered(movement))
            }
            Err(error) => Err(unknown(call.operation, error)),
        }
    }
}

fn unknown(operation: &'static str, error: reqwest::Error) -> Failure {
    metrics::count(
        operation,
        if error.is_timeout() {
            "timeout"
        } else {
            "error"
        },
    );
    Failure::Unknown(error)
}

/// A pause of up to 100 ms before the second try, then up to twice as long each time.
fn jitter(failures: u32) -> Duration {
    let ceiling = Duration::from_millis(100) * 2_u32.saturating_pow(failures.min(3));
    Duration::from_millis(20) + ceiling.mul_f64(rand::random::<f64>())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
