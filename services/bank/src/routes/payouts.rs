//! `POST /v1/payouts`: pay an organiser.

use axum::extract::State;
use idempotency::Key;
use messages::bank::{Kind, Movement, PayoutRequest};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, KEY, SESSION};

use crate::books::Ask;
use crate::clearing::{Bank, check_amount, check_number};
use crate::sandbox::Behaviour;

/// Pay out to an account.
///
/// The answer is the movement, declined or not; a repetition with the same key gets it again.
#[utoipa::path(
    post,
    path = "/v1/payouts",
    operation_id = "pay_out",
    tag = "movements",
    security(("api_key" = [])),
    params(Key),
    request_body(content = PayoutRequest, example = json!({
        "account": "4242424242424242", "amount_minor": 4500, "currency": "EUR",
        "reference": "0193b3a0-0000-7000-8000-000000000003",
    })),
    responses(
        Answers<{ SESSION | BODY | KEY }>,
        (status = 200, body = Movement, description = "The movement, new or repeated"),
        (status = 500, body = problem::Body, content_type = "application/problem+json", description = "sandbox-fault, internal"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable, sandbox-fault"),
    )
)]
pub(super) async fn pay_out(
    State(bank): State<Bank>,
    key: Key,
    Json(request): Json<PayoutRequest>,
) -> Result<Json<Movement>, Problem> {
    check_number("account", &request.account)?;
    check_amount(request.amount_minor)?;
    money::check("currency", &request.currency)?;
    let behaviour = Behaviour::of(&request.account);
    let ask = Ask {
        kind: Kind::Payout,
        key: key.as_str().to_owned(),
        amount_minor: request.amount_minor,
        currency: request.currency,
        reference: request.reference,
        number: Some(request.account),
        charge_id: None,
    };
    bank.carry_out(ask, behaviour).await.map(Json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::routes::testing::TestBank;

    #[tokio::test]
    async fn a_payout_is_made_once_and_keys_of_other_kinds_are_others() {
        let bank = TestBank::open().await;
        bank.charge("k", "4242424242424242", 1000).await;
        let body = json!({
            "account": "4242424242424242", "amount_minor": 800, "currency": "EUR",
            "reference": "0193b3a0-0000-7000-8000-000000000002",
        });
        let (status, first) = bank.post("/v1/payouts", "k", &body).await;
        assert_eq!(
            (status.as_u16(), &first["kind"]),
            (200, &json!("payout")),
            "{first}"
        );
        assert_eq!(bank.post("/v1/payouts", "k", &body).await.1, first);
        let (_, balance) = bank.get("/v1/balance?currency=EUR").await;
        assert_eq!(
            balance,
            json!({"charged_minor": 1000, "refunded_minor": 0, "paid_out_minor": 800})
        );
    }
}
