//! One attempt of one request.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Answer, Ask, Operation};

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

    /// Whether it was acknowledged as the repetition of an earlier answer.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Answered {
                status: 200..300,
                replayed: true,
                ..
            }
        )
    }

    /// Whether it may have had an effect that nobody was told of: no answer, or a 5xx.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        self.status().is_none_or(|status| status >= 500)
    }

    /// The last part of the problem's type, if it was refused with a problem.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Answered { status, body, .. } if !(200..300).contains(status) => body
                .get("type")
                .and_then(Value::as_str)?
                .strip_prefix("/problems/"),
            _ => None,
        }
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let outcome = match &self.outcome {
            Outcome::Answered { body, .. } => weight(body),
            Outcome::Unknown { reason } => reason.len(),
        };
        let key = self.key.as_ref().map_or(0, String::len);
        size_of::<Self>() + key + weight(&self.request) + outcome
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
            Outcome::Answered { status, .. } => match self.problem() {
                Some(problem) => format!("{status} {problem}"),
                None => status.to_string(),
            },
            Outcome::Unknown { .. } => "no answer".to_owned(),
        }
    }
}

/// What a field of an object costs beside its value: its name, and its part of a node of the tree
/// that holds the fields.
const FIELD: usize = 128;

/// About how many bytes a value takes beside its own place.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + size_of::<usize>() * 2,
        Value::Array(items) => items
            .iter()
            .map(|item| size_of::<Value>() + weight(item))
            .sum(),
        Value::Object(fields) => fields.values().map(|value| FIELD + weight(value)).sum(),
    }
}
