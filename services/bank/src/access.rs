//! Who may ask the bank: whoever shows its API key as a bearer token.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use problem::Problem;
use sha2::{Digest, Sha256};

use crate::clearing::Bank;

/// The API key, kept as its SHA-256.
#[derive(Clone)]
pub(crate) struct ApiKey([u8; 32]);

impl ApiKey {
    pub(crate) fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether `shown` is the key. Compares digests without stopping at the first difference, so
    /// the time it takes tells nothing.
    fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let difference = self
            .0
            .iter()
            .zip(shown)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// Lets a request through that shows the key.
pub(crate) async fn checked(State(bank): State<Bank>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "));
    if shown.is_some_and(|key| bank.api_key.is(key)) {
        next.run(request).await
    } else {
        Problem::unauthorized("send Authorization: Bearer <API key>").into_response()
    }
}
