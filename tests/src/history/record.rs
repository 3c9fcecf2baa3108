//! One attempt of one request.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::client::{Answer, Ask, Operation};

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer: its status and JSON body (null where it was withheld or is not JSON).
    Answered {
        /// HTTP status.
        status: u16,
        /// JSON body.
        body: Value,
        /// Whether it was marked as the repetition of an earlier answer.
        replayed: bool,
    },
    /// None, so nobody knows whether it took effect.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One attempt: who asked what and when, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The account, nil for visitors.
    pub actor: Uuid,
    /// What it was for.
    pub operation: Operation,
    /// What the path named.
    pub subject: Option<Uuid>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// The body that was sent; null where it was withheld.
    pub request: Value,
    /// 0 for the first attempt.
    pub attempt: u32,
    /// Before the first byte was sent.
    pub asked_at: DateTime<Utc>,
    /// After the last byte was read, or when hope was given up.
    pub answered_at: DateTime<Utc>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Record {
    /// Writes an attempt down, leaving out what must not be kept.
    #[must_use]
    pub fn new(
        actor: Uuid,
        ask: &Ask,
        attempt: u32,
        asked_at: DateTime<Utc>,
        elapsed: Duration,
        outcome: &Result<Answer, String>,
    ) -> Self {
        let confidential = ask.operation.is_confidential();
        let withheld = confidential || ask.operation.is_bulky();
        let outcome = match outcome {
            Ok(answer) => Outcome::Answered {
                status: answer.status,
                body: if withheld && answer.is_success() {
                    Value::Null
                } else {
                    answer.body.clone()
                },
                replayed: answer.replayed,
            },
            Err(reason) => Outcome::Unknown {
                reason: reason.clone(),
            },
        };
        let request = ask
            .body
            .clone()
            .filter(|_| !confidential)
            .unwrap_or_default();
        Self {
            actor,
            operation: ask.operation,
            subject: ask.subject,
            key: ask.key.clone(),
            request,
            attempt,
            asked_at,
            answered_at: asked_at + elapsed,
            outcome,
        }
    }

    /// How long it took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        (self.answered_at - self.asked_at)
            .to_std()
            .unwrap_or_default()
    }

    /// The status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::Answered { status, .. } => Some(*status),
            Outcome::Unknown { .. } => None,
        }
    }

    /// Whether it was acknowledged with 2xx.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.status()
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The body of an acknowledged request.
    #[must_use]
    pub fn acknowledged_body(&self) -> Option<&Value> {
        match &self.outcome {
            Outcome::Answered {
                status: 200..300,
                body,
                ..
            } => Some(body),
            _ => None,
        }
    }

    /// The body of an acknowledged request as `T`, where it has that shape.
    #[must_use]
    pub fn acknowledged<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(self.acknowledged_body()?).ok()
    }

    /// The outcome in a word, for the summary and metrics: a status and kind of problem, or
    /// `no answer`.
    #[must_use]
    pub fn outcome_name(&self) -> String {
        match &self.outcome {
            Outcome::Answered {
                status: 200..300, ..
            } => "ok".to_owned(),
            Outcome::Answered { status, body, .. } => {
                let problem = body.get("type").and_then(Value::as_str).unwrap_or_default();
                match problem.strip_prefix("/problems/") {
                    Some(problem) => format!("{status} {problem}"),
                    None => status.to_string(),
                }
            }
            Outcome::Unknown { .. } => "no answer".to_owned(),
        }
    }
}
