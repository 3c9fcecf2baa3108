//! `POST /v1/cancellations`: end a charge that may have been requested.

use axum::extract::State;
use idempotency::Key;
use messages::bank::{ChargeRequest, Movement};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, KEY, SESSION};

use super::charges;
use crate::clearing::Bank;
use crate::sandbox::Behaviour;

/// End a charge.
///
/// Send the key and the body of the charge. A charge that is in the books stays there, and the answer
/// is its movement. Else the answer is a declined movement: a request of the charge that arrives later
/// gets it as well, and moves no money.
#[utoipa::path(
    post,
    path = "/v1/cancellations",
    operation_id = "cancel_charge",
    tag = "movements",
    security(("api_key" = [])),
    params(Key),
    request_body(content = ChargeRequest, example = json!({
        "card": "4242424242424242", "amount_minor": 4500, "currency": "EUR",
        "reference": "0193b3a0-0000-7000-8000-000000000001",
    })),
    responses(
        Answers<{ SESSION | BODY | KEY }>,
        (status = 200, body = Movement, description = "The movement of the charge"),
        (status = 500, body = problem::Body, content_type = "application/problem+json", description = "internal"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable"),
    )
)]
pub(super) async fn cancel(
    State(bank): State<Bank>,
    key: Key,
    Json(request): Json<ChargeRequest>,
) -> Result<Json<Movement>, Problem> {
    let ask = charges::ask(&key, request)?;
    bank.carry_out(ask, Behaviour::Declines).await.map(Json)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use crate::routes::testing::{TestBank, charge};

    const PATH: &str = "/v1/cancellations";
    const FINE: &str = "4242424242424242";
    const SLOW: &str = "4000000000000259";
    const NEVER_ANSWERS: &str = "4000000000000341";

    #[tokio::test]
    async fn a_charge_that_is_cancelled_first_is_declined_for_ever() {
        let bank = TestBank::open().await;
        for card in [FINE, NEVER_ANSWERS] {
            let (status, ended) = bank.post(PATH, card, &charge(card, 100)).await;
            assert_eq!(
                (status.as_u16(), &ended["kind"], &ended["outcome"]),
                (200, &json!("charge"), &json!("declined"))
            );
            assert_eq!(bank.post(PATH, card, &charge(card, 100)).await.1, ended);
            assert_eq!(bank.charge(card, card, 100).await.1, ended);
        }
        assert_eq!(bank.get("/v1/balance").await.1["charged_minor"], 0);
    }

    #[tokio::test]
    async fn a_charge_in_the_books_stays_there() {
        let bank = TestBank::open().await;
        let (_, charged) = bank.charge("k", FINE, 100).await;
        let (status, found) = bank.post(PATH, "k", &charge(FINE, 100)).await;
        assert_eq!((status.as_u16(), found), (200, charged));
        assert_eq!(bank.post(PATH, "k", &charge(FINE, 101)).await.0, 422);
        assert_eq!(bank.get("/v1/balance").await.1["charged_minor"], 100);
        assert_eq!(bank.movements().await, 1);
    }

    #[tokio::test]
    async fn a_charge_that_is_under_way_and_its_cancellation_get_the_same_movement() {
        let bank = Arc::new(TestBank::open().await);
        let under_way = tokio::spawn({
            let bank = bank.clone();
            async move { bank.charge("k", SLOW, 100).await }
        });
        let (_, ended) = bank.post(PATH, "k", &charge(SLOW, 100)).await;
        assert_eq!(under_way.await.unwrap().1, ended);
        assert_eq!(bank.movements().await, 1);
    }
}
