//! `POST /v1/refunds`: give back a charge, or a part of it.

use axum::extract::State;
use idempotency::Key;
use messages::bank::{Kind, Movement, RefundRequest};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, KEY, SESSION};

use crate::books::Ask;
use crate::clearing::{Bank, check_amount};
use crate::sandbox::Behaviour;

/// Give back a charge.
///
/// Declined for good where the charge itself was declined or less than the amount is left of it.
/// The answer is the movement, declined or not; a repetition with the same key gets it again.
#[utoipa::path(
    post,
    path = "/v1/refunds",
    operation_id = "refund_charge",
    tag = "movements",
    security(("api_key" = [])),
    params(Key),
    request_body(content = RefundRequest, example = json!({
        "charge_id": "0193b3a0-0000-7000-8000-000000000002", "amount_minor": 4500,
        "reference": "0193b3a0-0000-7000-8000-000000000001",
    })),
    responses(
        Answers<{ SESSION | BODY | KEY }>,
        (status = 200, body = Movement, description = "The movement, new or repeated"),
        (status = 404, body = problem::Body, content_type = "application/problem+json", description = "not-found: there is no such charge"),
        (status = 500, body = problem::Body, content_type = "application/problem+json", description = "sandbox-fault, internal"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable, sandbox-fault"),
    )
)]
pub(super) async fn refund(
    State(bank): State<Bank>,
    key: Key,
    Json(request): Json<RefundRequest>,
) -> Result<Json<Movement>, Problem> {
    check_amount(request.amount_minor)?;
    let charge = bank.books.charge(request.charge_id).await?.ok_or_else(|| {
        Problem::not_found(format!("there is no charge {}", request.charge_id)).field("charge_id")
    })?;
    let behaviour = Behaviour::of(&charge.card);
    let ask = Ask {
        kind: Kind::Refund,
        key: key.as_str().to_owned(),
        amount_minor: request.amount_minor,
        currency: charge.currency,
        reference: request.reference,
        number: None,
        charge_id: Some(request.charge_id),
    };
    bank.carry_out(ask, behaviour).await.map(Json)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tokio::task::JoinSet;

    use crate::routes::testing::TestBank;

    fn of(charge: &Value, amount: i64) -> Value {
        json!({
            "charge_id": charge["id"], "amount_minor": amount, "reference": charge["reference"],
        })
    }

    #[tokio::test]
    async fn a_charge_is_given_back_once_over_at_most() {
        let bank = TestBank::open().await;
        let (_, charge) = bank.charge("c", "4242424242424242", 1000).await;
        let refund = async |key, amount| bank.post("/v1/refunds", key, &of(&charge, amount)).await;
        assert_eq!(refund("a", 1001).await.1["outcome"], "declined");
        let (_, first) = refund("b", 600).await;
        assert_eq!(
            (&first["outcome"], &first["currency"]),
            (&json!("succeeded"), &json!("EUR"))
        );
        assert_eq!(refund("b", 600).await.1, first);
        assert_eq!(refund("b", 500).await.0, 422);
        assert_eq!(refund("c", 401).await.1["outcome"], "declined");
        assert_eq!(refund("d", 400).await.1["outcome"], "succeeded");
        assert_eq!(refund("e", 1).await.1["outcome"], "declined");
        let (_, balance) = bank.get("/v1/balance").await;
        assert_eq!(
            balance,
            json!({"charged_minor": 1000, "refunded_minor": 1000, "paid_out_minor": 0})
        );
    }

    #[tokio::test]
    async fn parallel_refunds_share_what_is_left() {
        let bank = Arc::new(TestBank::open().await);
        let (_, charge) = bank.charge("c", "4242424242424242", 1000).await;
        let mut asked = JoinSet::new();
        for number in 0..10 {
            let (bank, body) = (bank.clone(), of(&charge, 300));
            asked.spawn(async move { bank.post("/v1/refunds", &number.to_string(), &body).await });
        }
        let done = asked.join_all().await;
        assert_eq!(
            done.iter()
                .filter(|(_, made)| made["outcome"] == "succeeded")
                .count(),
            3
        );
        assert_eq!(bank.get("/v1/balance").await.1["refunded_minor"], 900);
    }

    #[tokio::test]
    async fn only_a_succeeded_charge_is_given_back() {
        let bank = TestBank::open().await;
        let (_, declined) = bank.charge("c", "4000000000000002", 1000).await;
        let (_, refund) = bank.post("/v1/refunds", "a", &of(&declined, 10)).await;
        assert_eq!(refund["outcome"], "declined");
        let unknown = json!({
            "charge_id": "0193b3a0-0000-7000-8000-00000000abcd", "amount_minor": 10,
            "reference": declined["reference"],
        });
        assert_eq!(bank.post("/v1/refunds", "b", &unknown).await.0, 404);
        let (_, refund) = bank.post("/v1/refunds", "c", &of(&refund, 10)).await;
        assert_eq!(refund["field"], "charge_id", "a refund is no charge");
    }
}
