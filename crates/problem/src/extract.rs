//! Extractors that answer bad input with a [`Problem`] that names the field.
//!
//! [`Json`], [`Query`] and [`Path`] stand where axum's own would; unknown fields are refused by
//! `#[serde(deny_unknown_fields)]` on the request types.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body. As an answer it is axum's.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Not JSON",
                "send the body as application/json",
            ));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(unreadable)?;
        from_slice(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads a JSON value from a body and names the field at fault where that fails.
///
/// # Errors
/// 400 where the text is not JSON, 422 where a value breaks the shape.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            Problem::invalid(field_of(&path, &inner.to_string()), inner.to_string())
        } else {
            Problem::malformed(inner.to_string())
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::malformed(error.to_string()))?;
    Ok(value)
}

/// The field at fault: the path, or the name that serde put between back-ticks where the fault is
/// a missing or unknown field of the object that the path leads to.
fn field_of(path: &str, message: &str) -> String {
    let named = (message.starts_with("missing field") || message.starts_with("unknown field"))
        .then(|| message.split('`').nth(1))
        .flatten();
    match (path, named) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    }
}

fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            "a body has at most 64 KiB",
        )
    } else {
        Problem::malformed(rejection.body_text())
    }
}

/// Parameters from the query string.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(form_pairs(query));
        serde_path_to_error::deserialize(deserializer)
            .map(Self)
            .map_err(|error| {
                let path = error.path().to_string();
                let message = error.into_inner().to_string();
                Problem::invalid(field_of(&path, &message), message)
            })
    }
}

fn form_pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// Parameters from the path. A path that cannot be read names nothing, so it is 404.
#[derive(Clone, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found("no such address"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Seat {
        #[allow(dead_code)]
        row: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hold {
        #[allow(dead_code)]
        seats: Vec<Seat>,
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let field = |text: &str| {
            from_slice::<Hold>(text.as_bytes())
                .unwrap_err()
                .body()
                .field
        };
        assert_eq!(
            field(r#"{"seats":[{"row":1}]}"#).as_deref(),
            Some("seats[0].row")
        );
        assert_eq!(field(r#"{"seats":[{}]}"#).as_deref(), Some("seats[0].row"));
        assert_eq!(field(r#"{}"#).as_deref(), Some("seats"));
        assert_eq!(field(r#"{"seats":[],"x":1}"#).as_deref(), Some("x"));
    }

    #[test]
    fn text_that_is_not_json_is_malformed() {
        for text in ["", "{", "{}{}", "[[[[", "\u{0}"] {
            let problem = from_slice::<Hold>(text.as_bytes()).unwrap_err();
            assert!(problem.status().is_client_error(), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            from_slice::<serde_json::Value>(deep.as_bytes())
                .unwrap_err()
                .status(),
            StatusCode::BAD_REQUEST
        );
    }
}
