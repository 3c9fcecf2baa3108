//! Errors as `application/problem+json` (RFC 9457).
//!
//! A [`Problem`] is what a handler fails with: a stable type, a status, a sentence for people and,
//! where a field is at fault, its name. A failure inside (a store that is away, a mistake of ours)
//! carries its cause, which is logged once, when the answer is made, and never shown to clients.
//!
//! What this promises: a dependency that is away answers 503 with `Retry-After`; bad input names
//! its field. What it leaves to others: retries (crate `transaction`), the time-outs that turn a
//! hang into a failure.

mod database;
pub mod extract;
pub mod openapi;

use std::borrow::Cow;
use std::error::Error as StdError;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A boxed cause of a failure.
type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// A failed request, as a client sees it.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    field: Option<String>,
    retry_after: Option<u32>,
    /// Whether `detail` ends with the advice to try again.
    says_try_again: bool,
    cause: Option<Cause>,
}

/// The body of a failed request (RFC 9457).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// Stable address of the kind of problem, `/problems/<kind>`; a page stands behind it.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid-request")]
    pub kind: String,
    /// The kind in a few words, the same for each occurrence.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// The field of the request that is at fault, as a path such as `seats[2].row`. Absent where
    /// none is, or the body as a whole is no object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem of a kind of its own. `slug` is the last part of its type, and names the page
    /// `docs/problems/<slug>.md`.
    #[must_use]
    pub fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            slug,
            title,
            detail: detail.into(),
            field: None,
            retry_after: None,
            says_try_again: false,
            cause: None,
        }
    }

    /// 422: the request can be read but a field of it breaks a rule.
    #[must_use]
    pub fn invalid(field: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::broken_rule(detail).field(field)
    }

    /// 422: the same where the body as a whole is at fault, so there is no field to name.
    pub(crate) fn broken_rule(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request breaks a rule",
            detail,
        )
    }

    /// 400: the request cannot be read at all.
    #[must_use]
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-request",
            "The request cannot be read",
            detail,
        )
    }

    /// 401: no session, or one that is over.
    #[must_use]
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Sign in first",
            detail,
        )
    }

    /// 403: the session is good but its role does not allow this.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 404: nothing stands there, or nothing that the caller may know of.
    #[must_use]
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 409 of a kind of its own: the request is good but the state of things is against it.
    #[must_use]
    pub fn conflict(
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, slug, title, detail)
    }

    /// 409 with `Retry-After`: others are at what this request needs, or were a moment ago. `why`
    /// says so, and the advice to try again follows it.
    #[must_use]
    pub fn busy(why: &str) -> Self {
        Self::conflict("busy", "Others are at the same rows", try_again(why))
            .retry_after(1)
            .says_try_again()
    }

    /// 503 with `Retry-After`: a part this request needs is away for now.
    #[must_use]
    pub fn unavailable(part: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "A part is away for now",
            try_again(&format!("{part} does not answer right now")),
        )
        .retry_after(1)
        .says_try_again()
    }

    /// 500: a mistake of ours. The cause is logged, the client learns only that it happened.
    #[must_use]
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "A mistake on our side",
            "the request failed for a reason that is not yours; it was logged",
        )
        .cause(cause)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says after how many seconds a repetition makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn says_try_again(mut self) -> Self {
        self.says_try_again = true;
        self
    }

    /// Attaches what went wrong inside, for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The last part of the problem's type.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// The body that a client sees.
    #[must_use]
    pub fn body(&self) -> Body {
        Body {
            kind: format!("/problems/{}", self.slug),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone().into_owned(),
            field: self.field.clone(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl StdError for Problem {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            let chain = chain(&**cause);
            if self.status.is_server_error() && self.status != StatusCode::SERVICE_UNAVAILABLE {
                tracing::error!(problem = self.slug, error = chain, "request failed");
            } else {
                tracing::warn!(problem = self.slug, error = chain, "request refused");
            }
        }
        let body = self.body();
        let mut response = (self.status, json(&body)).into_response();
        if self.says_try_again {
            response.extensions_mut().insert(SaysTryAgain(body));
        }
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The body of a response that advises to try again.
#[derive(Clone)]
struct SaysTryAgain(Body);

fn try_again(why: &str) -> String {
    format!("{why}; try again")
}

fn json(body: &Body) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// The answer to a request that carried an `Idempotency-Key`: the advice to try again, where it is
/// given, names the key. Without a key in the request it does not, for there is none to repeat.
#[must_use]
pub fn to_keyed(mut response: Response) -> Response {
    if let Some(SaysTryAgain(mut body)) = response.extensions_mut().remove() {
        body.detail.push_str(" with the same Idempotency-Key");
        *response.body_mut() = json(&body).into();
    }
    response
}

/// The messages of an error and its sources, outermost first.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
