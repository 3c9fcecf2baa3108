//! Who may ask the bank: whoever shows its API key as a bearer token.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use problem::Problem;

use crate::clearing::Bank;

/// Lets a request through that shows the key.
pub(crate) async fn checked(State(bank): State<Bank>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "));
    if shown.is_some_and(|key| bank.api_key.is(key.as_bytes())) {
        next.run(request).await
    } else {
        Problem::unauthorized("send Authorization: Bearer <API key>").into_response()
    }
}
