//! How a request that moves money is carried out: sandbox behaviour around one write.
//!
//! The write runs in a task of its own, so a caller that hangs up early changes nothing about what
//! the bank does. Silence ends early when the process stops, so that it holds up no shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use messages::bank::{MOST_MINOR, Movement};
use problem::Problem;
use service::Key;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::books::{Ask, Books, Recorded};
use crate::sandbox::{Behaviour, SILENCE};

/// Most requests that are carried out at once; above it they are refused with 503.
const UNDER_WAY: usize = 256;

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) books: Books,
    pub(crate) api_key: Key,
    stop: CancellationToken,
    under_way: Arc<Semaphore>,
}

impl Bank {
    pub(crate) fn new(books: Books, api_key: &str, stop: CancellationToken) -> Self {
        Self {
            books,
            api_key: Key::new(api_key),
            stop,
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
        }
    }

    /// Carries out `ask`, whose number behaves as `behaviour` says, and gives its movement.
    pub(crate) async fn carry_out(
        &self,
        ask: Ask,
        behaviour: Behaviour,
    ) -> Result<Movement, Problem> {
        if let Some(movement) = self.books.answered(&ask).await? {
            return Ok(movement);
        }
        match behaviour {
            Behaviour::FailsOnce if self.books.fails_now(ask.kind, &ask.key).await? => {
                return Err(fault(StatusCode::INTERNAL_SERVER_ERROR));
            }
            Behaviour::NeverAnswers => return Err(self.silence().await),
            _ => {}
        }
        let recorded = self.record(ask, behaviour).await?;
        if recorded.first && behaviour == Behaviour::LosesAnswerOnce {
            return Err(self.silence().await);
        }
        Ok(recorded.movement)
    }

    async fn record(&self, ask: Ask, behaviour: Behaviour) -> Result<Recorded, Problem> {
        let permit = self
            .under_way
            .clone()
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable("the bank, which has all hands full,"))?;
        let bank = self.clone();
        let work = async move {
            let _permit = permit;
            if let Behaviour::Slow(delay) = behaviour {
                bank.pause(delay).await?;
            }
            bank.books
                .record(&ask, behaviour != Behaviour::Declines)
                .await
        };
        tokio::spawn(work.in_current_span())
            .await
            .map_err(Problem::internal)?
    }

    /// Waits, or fails at once when the process stops.
    async fn pause(&self, delay: Duration) -> Result<(), Problem> {
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.stop.cancelled() => Err(Problem::unavailable("the bank, which is stopping,")),
        }
    }

    async fn silence(&self) -> Problem {
        match self.pause(SILENCE).await {
            Ok(()) => fault(StatusCode::SERVICE_UNAVAILABLE).retry_after(1),
            Err(stopping) => stopping,
        }
    }
}

fn fault(status: StatusCode) -> Problem {
    Problem::new(
        status,
        "sandbox-fault",
        "A fault on purpose",
        "this sandbox number makes the bank fail; ask again with the same Idempotency-Key",
    )
}

/// Checks an amount.
pub(crate) fn check_amount(amount_minor: i64) -> Result<(), Problem> {
    if (1..=MOST_MINOR).contains(&amount_minor) {
        Ok(())
    } else {
        Err(Problem::invalid(
            "amount_minor",
            format!("an amount is 1 to {MOST_MINOR} minor units"),
        ))
    }
}

/// Checks the number of a card or account, which stands in `field`.
pub(crate) fn check_number(field: &str, number: &str) -> Result<(), Problem> {
    if number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(Problem::invalid(field, "a number has 16 digits"))
    }
}
