//! The circuit breaker in front of DynamoDB: while it hangs, nobody waits for it.
//!
//! Without one each read that no cache has takes as long as it may, and holds up whoever waits for
//! one of the loads of its replica. After [`FAILURES`] questions in a row that were not answered all
//! are refused at once, with 503 and `Retry-After`, and one task looks whether it is back. So nobody
//! is made to wait for the outcome, and it is asked again within a second of being back.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use circuit_breaker::{Breaker, Options};
use problem::Problem;

use crate::item::text;
use crate::{failure, metrics};

/// How many questions in a row that were not answered open the circuit. They are not counted by
/// what was asked for: a crowd asks for one and the same event.
const FAILURES: usize = 5;

/// How long it is until somebody looks whether DynamoDB is back, up to half as long again.
const OPEN_FOR: Duration = Duration::from_millis(500);

/// How long DynamoDB may take to answer whoever looks.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// What DynamoDB says to a question, or why it does not.
pub type Answer<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// The way to the table, open only while it leads somewhere.
#[derive(Clone, Debug)]
pub struct Circuit {
    breaker: Breaker,
    client: Client,
    table: String,
}

impl Circuit {
    /// The circuit to `table`.
    pub fn new(client: Client, table: String) -> Self {
        let options = Options {
            failures: FAILURES,
            open_for: OPEN_FOR,
        };
        Self {
            breaker: Breaker::new("documents", options, metrics::documents_circuit()),
            client,
            table,
        }
    }

    /// Asks, unless DynamoDB is known to be away.
    ///
    /// # Errors
    /// 503 where it is; nothing was sent.
    pub async fn ask<T, E>(
        &self,
        asking: impl Future<Output = Answer<T, E>>,
    ) -> Result<Answer<T, E>, Problem> {
        let Some(permit) = self.breaker.permit() else {
            return Err(failure::away());
        };
        let answer = asking.await;
        let opened = match &answer {
            Err(error) if failure::is_away(error) => permit.failed(),
            _ => {
                permit.answered();
                false
            }
        };
        if opened {
            self.watch();
        }
        Ok(answer)
    }

    /// Looks, beside all requests, until DynamoDB is back.
    fn watch(&self) {
        let circuit = self.clone();
        self.breaker.watch(move || {
            let circuit = circuit.clone();
            async move { circuit.answers().await }
        });
    }

    /// Whether a read is answered, whatever is said.
    async fn answers(&self) -> bool {
        let asked = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", text("nothing"))
            .send();
        match tokio::time::timeout(PROBE_TIMEOUT, Box::pin(asked)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !failure::is_away(&error),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use axum::http::StatusCode;
    use uuid::Uuid;

    use super::*;
    use crate::events::Events;
    use crate::table;
    use crate::trial::{self, As, Trial};

    /// Events at an address where nobody listens.
    fn nowhere() -> Events {
        Events::new(table::client("http://127.0.0.1:1"), "nothing".to_owned())
    }

    #[tokio::test]
    async fn what_is_not_answered_again_and_again_is_not_asked_any_more() {
        let events = nowhere();
        for _ in 0..FAILURES {
            let failed = events.get(Uuid::now_v7()).await.unwrap_err();
            assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let asked = AtomicUsize::new(0);
        let asking = async {
            asked.fetch_add(1, Ordering::Relaxed);
            let answer: Answer<(), GetItemError> = Ok(());
            answer
        };
        let refused = events.circuit().ask(asking).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(asked.load(Ordering::Relaxed), 0, "nothing is sent");
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn what_is_answered_opens_nothing_and_what_is_back_is_asked_again() {
        let trial = Trial::begin().await;
        let circuit = trial.catalog.events.circuit();
        for _ in 0..3 * FAILURES {
            let path = format!("/api/catalog/events/{}", Uuid::now_v7());
            assert_eq!(trial.get(&path, As::Nobody).await.0, StatusCode::NOT_FOUND);
        }
        assert!(!circuit.breaker.is_open());
        let id = trial
            .create(As::Organiser(Uuid::now_v7()), &trial::draft("Faro"))
            .await;
        // As if it had been away a moment ago.
        for _ in 0..FAILURES {
            circuit.breaker.permit().unwrap().failed();
        }
        let refused = trial.catalog.events.get(id).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        circuit.watch();
        let began = tokio::time::Instant::now();
        while trial.catalog.events.get(id).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(40), "never closed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
