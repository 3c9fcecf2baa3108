//! Extractors that answer bad input with a [`Problem`] that names the field.
//!
//! [`Json`], [`Query`] and [`Path`] stand where axum's own would; unknown fields are refused by
//! `#[serde(deny_unknown_fields)]` on the request types, and a list where an object belongs is
//! refused by `objects`.

mod objects;

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
    let objects = objects::Objects(&mut deserializer);
    let value = serde_path_to_error::deserialize(objects).map_err(|error| {
        if error.inner().is_data() {
            broken_rule(error.path(), error.inner().to_string())
        } else {
            Problem::malformed(error.inner().to_string())
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::malformed(error.to_string()))?;
    Ok(value)
}

/// 422 that names the field at fault, or none where the value as a whole is no object.
fn broken_rule(path: &serde_path_to_error::Path, message: String) -> Problem {
    match field_of(path, &message) {
        Some(field) => Problem::invalid(field, message),
        None => Problem::broken_rule(message),
    }
}

/// The field at fault. The path leads to a value of the wrong shape and to an unknown field. Of a
/// missing or repeated field it leads to the object, and serde's message has the field's name.
fn field_of(path: &serde_path_to_error::Path, message: &str) -> Option<String> {
    let mut field = match path.iter().next() {
        Some(_) => path.to_string(),
        None => String::new(),
    };
    let name = ["missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|beginning| message.strip_prefix(beginning))
        .and_then(|rest| rest.split('`').next());
    if let Some(name) = name {
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(name);
    }
    (!field.is_empty()).then_some(field)
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
            .map_err(|error| broken_rule(error.path(), error.inner().to_string()))
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

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Seat {
        row: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapped(Seat);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hold {
        seats: Vec<Seat>,
        #[serde(default)]
        best: Option<Seat>,
        #[serde(default)]
        wrapped: Option<Wrapped>,
    }

    fn refused(text: &str) -> Problem {
        from_slice::<Hold>(text.as_bytes()).unwrap_err()
    }

    fn field(text: &str) -> Option<String> {
        refused(text).body().field
    }

    #[test]
    fn the_field_at_fault_is_named() {
        assert_eq!(
            field(r#"{"seats":[{"row":1}]}"#).as_deref(),
            Some("seats[0].row")
        );
        assert_eq!(field(r#"{"seats":[{}]}"#).as_deref(), Some("seats[0].row"));
        assert_eq!(field(r#"{}"#).as_deref(), Some("seats"));
        assert_eq!(field(r#"{"seats":[],"x":1}"#).as_deref(), Some("x"));
        assert_eq!(
            field(r#"{"seats":[],"best":{"row":"1","x":1}}"#).as_deref(),
            Some("best.x")
        );
    }

    #[test]
    fn a_repeated_field_is_named() {
        for (text, name) in [
            (r#"{"seats":[],"seats":[]}"#, "seats"),
            (r#"{"seats":[],"best":null,"best":null}"#, "best"),
            (r#"{"seats":[{"row":"1","row":"2"}]}"#, "seats[0].row"),
            (r#"{"seats":[],"best":{"row":"1","row":"2"}}"#, "best.row"),
        ] {
            let problem = refused(text);
            assert_eq!(problem.slug(), "invalid-request", "{text}");
            assert_eq!(problem.body().field.as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn a_list_is_no_object_wherever_it_stands() {
        for (text, name) in [
            (r#"[[{"row":"1"}]]"#, None),
            ("[]", None),
            (r#"{"seats":[["1"]]}"#, Some("seats[0]")),
            (r#"{"seats":[],"best":["1"]}"#, Some("best")),
            (r#"{"seats":[],"wrapped":["1"]}"#, Some("wrapped")),
        ] {
            let problem = refused(text);
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY, "{text}");
            assert_eq!(problem.slug(), "invalid-request", "{text}");
            assert_eq!(problem.body().field.as_deref(), name, "{text}");
        }
        let seat = || Seat {
            row: "1".to_owned(),
        };
        let text = r#"{"seats":[{"row":"1"}],"best":{"row":"1"},"wrapped":{"row":"1"}}"#;
        let hold = Hold {
            seats: vec![seat()],
            best: Some(seat()),
            wrapped: Some(Wrapped(seat())),
        };
        assert_eq!(from_slice::<Hold>(text.as_bytes()).unwrap(), hold);
    }

    #[test]
    fn a_body_that_is_no_object_names_no_field() {
        for text in ["7", "\"text\"", "null", "true"] {
            assert_eq!(field(text), None, "{text}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[allow(dead_code)]
        limit: Option<u32>,
    }

    #[tokio::test]
    async fn a_bad_parameter_of_the_query_is_named() {
        for (query, name) in [
            ("limit=1&limit=2", "limit"),
            ("limit=x", "limit"),
            ("colour=red", "colour"),
        ] {
            let request = Request::builder().uri(format!("/?{query}"));
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let refused = Query::<Page>::from_request_parts(&mut parts, &()).await;
            let problem = refused.unwrap_err();
            assert_eq!(problem.body().field.as_deref(), Some(name), "{query}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_malformed() {
        for text in ["", "{", "{}{}", "[[[[", "\u{0}"] {
            assert!(refused(text).status().is_client_error(), "{text:?}");
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
