//! `GET /v1/balance`: what the books come to.

use axum::extract::State;
use messages::bank::Balance;
use problem::Problem;
use problem::extract::{Json, Query};
use problem::openapi::{Answers, SESSION};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::clearing::Bank;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// Only this currency; without it the sum over all of them.
    #[param(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: Option<String>,
}

/// Sum up the books.
///
/// What the succeeded movements come to. Charged less refunded less paid out is what is left.
#[utoipa::path(
    get,
    path = "/v1/balance",
    operation_id = "read_balance",
    tag = "books",
    security(("api_key" = [])),
    params(Of),
    responses(
        Answers<{ SESSION }>,
        (status = 200, body = Balance, description = "Charged, refunded and paid out"),
        (status = 422, body = problem::Body, content_type = "application/problem+json", description = "invalid-request"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable"),
    )
)]
pub(super) async fn read(
    State(bank): State<Bank>,
    Query(of): Query<Of>,
) -> Result<Json<Balance>, Problem> {
    if let Some(currency) = &of.currency {
        money::check("currency", currency)?;
    }
    Ok(Json(bank.books.balance(of.currency.as_deref()).await?))
}
