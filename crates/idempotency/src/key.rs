//! The key itself: 1 to 64 visible ASCII characters, chosen by the client.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use problem::Problem;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

/// Name of the header.
pub const HEADER: &str = "idempotency-key";

/// A well-formed `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The longest key.
    pub const MAX_LENGTH: usize = 64;

    /// Reads a key.
    ///
    /// # Errors
    /// 422 where it is empty, too long or has characters that are not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Problem::invalid(
                "Idempotency-Key",
                "a key is 1 to 64 visible ASCII characters",
            ))
        }
    }

    /// The key of a request with these headers.
    ///
    /// # Errors
    /// 400 where there is none, 422 where there are several or it is not well-formed.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "idempotency-key-missing",
                "Idempotency-Key is missing",
                "a request that creates something carries an Idempotency-Key, so that it can be repeated safely",
            )
            .field("Idempotency-Key"));
        };
        if values.next().is_some() {
            return Err(Problem::invalid("Idempotency-Key", "there is one key"));
        }
        Self::parse(value.to_str().unwrap_or_default())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

/// The header in OpenAPI documents: a route that takes a key names it among its `params`.
impl IntoParams for Key {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(Self::MAX_LENGTH))
            .pattern(Some("^[!-~]+$"));
        let header = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(
                "Chosen by the client, 1 to 64 visible ASCII characters. A repetition with the same \
                 key has no second effect and gets the first answer, marked by the header \
                 `Idempotency-Replayed: true`. Another request takes another key. A key is kept for \
                 a day.",
            ))
            .schema(Some(key))
            .example(Some("try-1".into()));
        vec![header.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_key() {
        for (keys, status) in [(0, Some(400)), (1, None), (2, Some(422))] {
            let mut headers = HeaderMap::new();
            for key in 0..keys {
                headers.append(HEADER, key.into());
            }
            let refused = Key::of(&headers).err();
            assert_eq!(refused.map(|problem| problem.status().as_u16()), status);
        }
    }

    #[test]
    fn keys_are_visible_ascii_of_limited_length() {
        assert!(Key::parse("a").is_ok());
        assert!(Key::parse(&"k".repeat(64)).is_ok());
        for bad in ["", " ", "a b", "é", "a\u{0}", &"k".repeat(65)] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_documented_example_is_a_key() {
        let documented = serde_json::to_value(Key::into_params(|| None)).unwrap();
        let header = &documented[0];
        assert_eq!(
            (&header["in"], &header["required"]),
            (&"header".into(), &true.into())
        );
        assert!(Key::parse(header["example"].as_str().unwrap()).is_ok());
    }
}
