//! Asking `bank`: time-outs, bounded repetition, a circuit breaker for payments and one for payouts.
//!
//! A call that was not answered may be the card's doing, or `bank` is away. So whoever got no answer
//! asks `bank` something cheap: if that is not answered either, `bank` is away, and the circuit
//! opens for all.
//!
//! What this promises: a call ends within a few time-outs; it is repeated here only after a definite
//! answer that nothing happened. An answer that did not come is handed to the caller as
//! [`Failure::Unknown`] or [`Failure::Away`], who asks again with the same key. What it leaves to
//! others: the keys, that no transaction is open meanwhile, and how long to wait for a `bank` that
//! is away.

mod metrics;

use std::time::Duration;

use anyhow::Context;
use circuit_breaker::{Breaker, Options, Permit};
use messages::bank::{ChargeRequest, Movement, Outcome, PayoutRequest, RefundRequest};
use reqwest::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long `bank` may take to answer a charge or a refund.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer a payout, which nobody waits for.
const PAYOUT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take to answer the question whether it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a call is made at most that `bank` answers with a failure of its own.
const MAX_FAILURES: u32 = 3;

/// How long a circuit stays open until somebody tries whether `bank` is back, up to half as long
/// again.
pub const OPEN_FOR: Duration = Duration::from_secs(2);

/// So many calls that fail in a row open a circuit; several failures of the same call are one.
const CIRCUIT: Options = Options {
    failures: 5,
    open_for: OPEN_FOR,
};

/// Why there is no movement to show.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No answer although `bank` is there, so nobody knows whether money moved: ask again with the
    /// same key.
    #[error("the bank's answer did not come: {0}")]
    Unknown(#[source] reqwest::Error),
    /// `bank` is away, or was a moment ago: ask again with the same key once it is back. Where an
    /// answer got lost, nobody knows whether money moved.
    #[error("the bank is away: {0}")]
    Away(String),
    /// Nothing happened: `bank` is there and failed at this call again and again.
    #[error("the bank fails: {0}")]
    Failed(String),
    /// Nothing happened, and asking again the same way will not help.
    #[error("the bank refused the request with {0}: {1}")]
    Refused(StatusCode, String),
    /// This process stops.
    #[error("stopped while the bank failed")]
    Stopped,
}

/// A client of `bank`.
#[derive(Debug)]
pub struct Bank {
    http: reqwest::Client,
    url: String,
    key: String,
    payments: Breaker,
    /// Apart, for a payout may take long: payments do not wait because of it.
    payouts: Breaker,
    stop: CancellationToken,
}

/// One thing to ask.
struct Call<'a, B> {
    operation: &'static str,
    key: &'a str,
    body: &'a B,
    timeout: Duration,
    breaker: &'a Breaker,
}

/// Why one try came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Nobody knows whether anything happened.
    #[error("no answer: {0}")]
    Lost(#[source] reqwest::Error),
    /// Nothing happened.
    #[error("{0}")]
    Nothing(String),
}

impl Bank {
    /// A client of the bank at `url`, which repeats nothing once `stop` is asked for.
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
            payments: Breaker::new("bank payments", CIRCUIT, metrics::circuit("payments")),
            payouts: Breaker::new("bank payouts", CIRCUIT, metrics::circuit("payouts")),
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
            breaker: &self.payments,
        })
        .await
    }

    /// Ends a charge that may have been requested: gets its movement where there is one, and else
    /// declines its key for ever.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn cancel_charge(
        &self,
        key: &str,
        body: &ChargeRequest,
    ) -> Result<Movement, Failure> {
        self.ask(Call {
            operation: "cancellation",
            key,
            body,
            timeout: PAYMENT_TIMEOUT,
            breaker: &self.payments,
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
            breaker: &self.payments,
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
            breaker: &self.payouts,
        })
        .await
    }

    async fn ask<B: Serialize + Sync>(&self, call: Call<'_, B>) -> Result<Movement, Failure> {
        let mut failures = 0;
        loop {
            let permit = self.permit(&call).await?;
            let started = Instant::now();
            let tried = self.once(&call).await;
            metrics::SECONDS
                .with_label_values(&[call.operation])
                .observe(started.elapsed().as_secs_f64());
            let failed = match tried {
                Ok(answer) => {
                    permit.answered();
                    return answer;
                }
                Err(failed) => failed,
            };
            if self.stop.is_cancelled() {
                return Err(Failure::Stopped);
            }
            if !self.is_there().await {
                permit.away();
                return Err(Failure::Away(failed.to_string()));
            }
            permit.failed();
            let reason = match failed {
                Failed::Lost(error) => return Err(Failure::Unknown(error)),
                Failed::Nothing(reason) => reason,
            };
            failures += 1;
            if failures >= MAX_FAILURES {
                return Err(Failure::Failed(reason));
            }
            tokio::select! {
                () = tokio::time::sleep(jitter(failures)) => {}
                () = self.stop.cancelled() => return Err(Failure::Stopped),
            }
        }
    }

    /// The permission to make a call; whoever's turn it is tries first whether the bank is back.
    async fn permit<'a, B>(&self, call: &Call<'a, B>) -> Result<Permit<'a>, Failure> {
        if let Some(trial) = call.breaker.trial()
            && self.is_there().await
        {
            trial.answered();
        }
        call.breaker.permit_for(call.key).ok_or_else(|| {
            metrics::count(call.operation, "open");
            Failure::Away("the circuit is open".to_owned())
        })
    }

    /// Whether the bank answers a question that costs it next to nothing.
    async fn is_there(&self) -> bool {
        let answer = self
            .http
            .get(format!("{}/v1/balance", self.url))
            .bearer_auth(&self.key)
            .timeout(PROBE_TIMEOUT)
            .send()
            .await;
        let (is_there, outcome) = match answer {
            Ok(response) if !response.status().is_server_error() => (true, "succeeded"),
            Ok(_) => (false, "error"),
            Err(error) => (false, outcome_of(&error)),
        };
        metrics::count("probe", outcome);
        is_there
    }

    /// Asks once. Whatever the bank says of the call itself is an answer.
    async fn once<B: Serialize + Sync>(
        &self,
        call: &Call<'_, B>,
    ) -> Result<Result<Movement, Failure>, Failed> {
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
                return Err(Failed::Nothing(chain(&error)));
            }
            Err(error) => return Err(lost(call.operation, error)),
        };
        let status = response.status();
        if status.is_server_error() {
            metrics::count(call.operation, "error");
            return Err(Failed::Nothing(format!("it answered {status}")));
        }
        if !status.is_success() {
            metrics::count(call.operation, "error");
            let text: String = response
                .text()
                .await
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            return Ok(Err(Failure::Refused(status, text)));
        }
        match response.json::<Movement>().await {
            Ok(movement) => {
                let outcome = match movement.outcome {
                    Outcome::Succeeded => "succeeded",
                    Outcome::Declined => "declined",
                };
                metrics::count(call.operation, outcome);
                Ok(Ok(movement))
            }
            Err(error) => Err(lost(call.operation, error)),
        }
    }
}

fn lost(operation: &'static str, error: reqwest::Error) -> Failed {
    metrics::count(operation, outcome_of(&error));
    Failed::Lost(error)
}

fn outcome_of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else {
        "error"
    }
}

/// A pause of up to 200 ms before the second try, then up to twice as long.
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
