//! One logical request, and what can come of it.

use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The largest answer that is read as JSON.
const LARGEST_ANSWER: u64 = 8 * 1024 * 1024;

/// What a request is for: the name in the history, in the summary and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names say it
pub enum Operation {
    SignUp,
    SignIn,
    SignOut,
    ReadAccount,
    CreateEvent,
    PublishEvent,
    Browse,
    ReadSeats,
    ReadAvailability,
    PlaceHold,
    ReadHold,
    ReleaseHold,
    PlaceOrder,
    ReadOrder,
    ListOrders,
    CancelOrder,
    GiveCard,
    ReadTickets,
    ReadPdf,
    Scan,
    ReadSettlements,
    ReadWorkers,
}

impl Operation {
    /// The name, as it stands in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::ReadAccount => "read_account",
            Self::CreateEvent => "create_event",
            Self::PublishEvent => "publish_event",
            Self::Browse => "browse",
            Self::ReadSeats => "read_seats",
            Self::ReadAvailability => "read_availability",
            Self::PlaceHold => "place_hold",
            Self::ReadHold => "read_hold",
            Self::ReleaseHold => "release_hold",
            Self::PlaceOrder => "place_order",
            Self::ReadOrder => "read_order",
            Self::ListOrders => "list_orders",
            Self::CancelOrder => "cancel_order",
            Self::GiveCard => "give_card",
            Self::ReadTickets => "read_tickets",
            Self::ReadPdf => "read_pdf",
            Self::Scan => "scan",
            Self::ReadSettlements => "read_settlements",
            Self::ReadWorkers => "read_workers",
        }
    }

    /// Whether what was sent holds a password, or the answer a session: neither is written down.
    #[must_use]
    pub fn is_confidential(self) -> bool {
        matches!(self, Self::SignUp | Self::SignIn)
    }

    /// Whether the answer is large and proves nothing: only its status is written down.
    #[must_use]
    pub fn is_bulky(self) -> bool {
        matches!(self, Self::Browse | Self::ReadSeats | Self::ReadPdf)
    }
}

/// A logical request: every attempt of it is the same, byte for byte.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What it is for.
    pub operation: Operation,
    /// HTTP method.
    pub method: Method,
    /// Path and query, from `/api`.
    pub path: String,
    /// What the path names: a hold, an order, an event.
    pub subject: Option<Uuid>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// JSON body.
    pub body: Option<Value>,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// A read.
    #[must_use]
    pub fn get(operation: Operation, path: impl Into<String>) -> Self {
        Self {
            operation,
            method: Method::GET,
            path: path.into(),
            subject: None,
            key: None,
            body: None,
            headers: Vec::new(),
        }
    }

    /// A removal, which may be repeated by nature.
    #[must_use]
    pub fn delete(operation: Operation, path: impl Into<String>) -> Self {
        Self {
            method: Method::DELETE,
            ..Self::get(operation, path)
        }
    }

    /// A write.
    #[must_use]
    pub fn post(operation: Operation, path: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(operation, path)
        }
    }

    /// Names what the path is about.
    #[must_use]
    pub fn about(mut self, subject: Uuid) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether sending it again can do no harm: reads, removals, writes with a key, and the two
    /// writes that are idempotent by nature.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        self.method != Method::POST
            || self.key.is_some()
            || matches!(self.operation, Operation::PublishEvent | Operation::SignIn)
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, if it was JSON; null otherwise.
    pub body: Value,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `Location`.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// Whether it came with `Idempotency-Replayed: true`.
    pub replayed: bool,
    /// Media type.
    pub content_type: String,
    /// Bytes of the body.
    pub length: usize,
}

impl Answer {
    /// Reads a response to its end, within the client's time-out.
    ///
    /// # Errors
    /// The connection broke before the end.
    pub async fn from_response(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let mut answer = Self {
            status: response.status().as_u16(),
            retry_after: header("retry-after").and_then(|text| text.parse().ok()),
            location: header("location"),
            etag: header("etag"),
            replayed: header("idempotency-replayed").as_deref() == Some("true"),
            content_type: header("content-type").unwrap_or_default(),
            body: Value::Null,
            length: 0,
        };
        let fits = response
            .content_length()
            .is_none_or(|length| length <= LARGEST_ANSWER);
        let bytes = response.bytes().await?;
        answer.length = bytes.len();
        if fits && answer.content_type.contains("json") {
            answer.body = serde_json::from_slice(&bytes).unwrap_or_default();
        }
        Ok(answer)
    }

    /// 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The last part of the problem's type, if the answer is a problem.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.body.get("type")?.as_str()?.strip_prefix("/problems/")
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// Another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.body).map_err(|error| Failure::Unreadable(error.to_string()))
    }
}

/// Why there is no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The connection failed or broke, or time ran out: nobody knows whether it took effect.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// An answer that is not 2xx.
    #[error("refused with {} {}", .0.status, .0.body)]
    Refused(Box<Answer>),
    /// A 2xx whose body is not what was promised.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
}

impl Failure {
    /// The status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(answer) => Some(answer.status),
            Self::NoAnswer(_) | Self::Unreadable(_) => None,
        }
    }

    /// The last part of the problem's type, if the answer was a problem.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Refused(answer) => answer.problem(),
            Self::NoAnswer(_) | Self::Unreadable(_) => None,
        }
    }

    /// Whether the same request may fare better in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(answer) => {
                matches!(answer.status, 429 | 500..)
                    || matches!(answer.problem(), Some("busy" | "seats-busy"))
            }
            Self::Unreadable(_) => false,
        }
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(answer) => answer.retry_after.map(Duration::from_secs),
            Self::NoAnswer(_) | Self::Unreadable(_) => None,
        }
    }
}
