//! `POST /v1/charges`: take money from a card.

use axum::extract::State;
use idempotency::Key;
use messages::bank::{ChargeRequest, Kind, Movement};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, KEY, SESSION};

use crate::books::Ask;
use crate::clearing::{Bank, check_amount, check_number};
use crate::sandbox::Behaviour;

/// Charge a card.
///
/// The answer is the movement, declined or not; a repetition with the same key gets it again.
#[utoipa::path(
    post,
    path = "/v1/charges",
    operation_id = "charge_card",
    tag = "movements",
    security(("api_key" = [])),
    params(Key),
    request_body(content = ChargeRequest, example = json!({
        "card": "4242424242424242", "amount_minor": 4500, "currency": "EUR",
        "reference": "0193b3a0-0000-7000-8000-000000000001",
    })),
    responses(
        Answers<{ SESSION | BODY | KEY }>,
        (status = 200, body = Movement, description = "The movement, new or repeated"),
        (status = 500, body = problem::Body, content_type = "application/problem+json", description = "sandbox-fault, internal"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable, sandbox-fault"),
    )
)]
pub(super) async fn charge(
    State(bank): State<Bank>,
    key: Key,
    Json(request): Json<ChargeRequest>,
) -> Result<Json<Movement>, Problem> {
    let behaviour = Behaviour::of(&request.card);
    let ask = ask(&key, request)?;
    bank.carry_out(ask, behaviour).await.map(Json)
}

/// What a charge with this key asks for.
pub(super) fn ask(key: &Key, request: ChargeRequest) -> Result<Ask, Problem> {
    check_number("card", &request.card)?;
    check_amount(request.amount_minor)?;
    money::check("currency", &request.currency)?;
    Ok(Ask {
        kind: Kind::Charge,
        key: key.as_str().to_owned(),
        amount_minor: request.amount_minor,
        currency: request.currency,
        reference: request.reference,
        number: Some(request.card),
        charge_id: None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use axum::body::Body;
    use axum::http::{Request, header};
    use serde_json::json;
    use tokio::task::JoinSet;

    use crate::routes::testing::{TestBank, charge};

    const FINE: &str = "4242424242424242";
    const DECLINED: &str = "4000000000000002";
    const FAILS_ONCE: &str = "4000000000000119";
    const LOSES_ANSWER_ONCE: &str = "4000000000000127";
    const SLOW: &str = "4000000000000259";
    /// How long that takes.
    const TAKES: Duration = Duration::from_secs(2);
    const NEVER_ANSWERS: &str = "4000000000000341";

    /// Long enough for an answer on a busy machine too, and shorter than any silence.
    const PATIENCE: Duration = Duration::from_secs(15);

    /// Waits until so many movements stand in the books.
    async fn written(bank: &TestBank, movements: usize) {
        let began = Instant::now();
        while bank.movements().await != movements {
            assert!(began.elapsed() < PATIENCE, "not {movements} movements");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_repetition_gets_the_first_answer_and_another_body_is_refused() {
        let bank = TestBank::open().await;
        let (status, first) = bank.charge("k", FINE, 4500).await;
        assert_eq!(
            (status.as_u16(), &first["outcome"]),
            (200, &json!("succeeded")),
            "{first}"
        );
        assert_eq!(bank.charge("k", FINE, 4500).await.1, first);
        for other in [charge(FINE, 4501), charge(DECLINED, 4500)] {
            let (status, problem) = bank.post("/v1/charges", "k", &other).await;
            assert_eq!(status, 422);
            assert_eq!(problem["type"], "/problems/idempotency-key-reused");
        }
        assert_eq!(bank.movements().await, 1);
    }

    #[tokio::test]
    async fn the_same_key_in_parallel_has_one_effect() {
        let bank = Arc::new(TestBank::open().await);
        let mut asked = JoinSet::new();
        for _ in 0..16 {
            let bank = bank.clone();
            asked.spawn(async move { bank.charge("k", FINE, 700).await });
        }
        let answers = asked.join_all().await;
        assert_eq!(answers[0].0, 200);
        assert!(
            answers.iter().all(|answer| answer == &answers[0]),
            "{answers:?}"
        );
        assert_eq!(bank.get("/v1/balance").await.1["charged_minor"], 700);
    }

    #[tokio::test]
    async fn what_was_declined_stays_declined_and_moves_nothing() {
        let bank = TestBank::open().await;
        for card in [DECLINED, "1234567812345678"] {
            let (status, first) = bank.charge(card, card, 100).await;
            assert_eq!(
                (status.as_u16(), &first["outcome"]),
                (200, &json!("declined"))
            );
            assert_eq!(bank.charge(card, card, 100).await.1, first);
        }
        assert_eq!(
            bank.get("/v1/balance?currency=EUR").await.1["charged_minor"],
            0
        );
    }

    #[tokio::test]
    async fn a_key_fails_once_also_when_the_bank_was_killed_in_between() {
        let bank = TestBank::open().await;
        let (status, problem) = bank.charge("k", FAILS_ONCE, 100).await;
        assert_eq!(
            (status.as_u16(), &problem["type"]),
            (500, &json!("/problems/sandbox-fault"))
        );
        assert_eq!(bank.movements().await, 0);
        let bank = bank.after_a_kill().await;
        assert_eq!(
            bank.charge("k", FAILS_ONCE, 100).await.1["outcome"],
            "succeeded"
        );
        assert_eq!(bank.charge("k", FAILS_ONCE, 100).await.0, 200);
        assert_eq!(bank.charge("other", FAILS_ONCE, 100).await.0, 500);
        assert_eq!(bank.movements().await, 1);
    }

    #[tokio::test]
    async fn a_lost_answer_has_its_effect_and_the_repetition_gets_it() {
        let bank = Arc::new(TestBank::open().await);
        let first = tokio::spawn({
            let bank = bank.clone();
            async move { bank.charge("k", LOSES_ANSWER_ONCE, 100).await }
        });
        written(&bank, 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!first.is_finished(), "it is answered");
        first.abort();
        let again = bank.charge("k", LOSES_ANSWER_ONCE, 100);
        let (status, movement) = tokio::time::timeout(PATIENCE, again).await.unwrap();
        assert_eq!(
            (status.as_u16(), &movement["outcome"]),
            (200, &json!("succeeded"))
        );
        assert_eq!(bank.movements().await, 1);
    }

    #[tokio::test]
    async fn a_slow_charge_takes_effect_although_its_caller_hung_up() {
        let bank = TestBank::open().await;
        let began = Instant::now();
        let body = bank.charge("k", SLOW, 100);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), body)
                .await
                .is_err()
        );
        let early = bank.movements().await;
        assert!(early == 0 || began.elapsed() >= TAKES, "{early} movements");
        written(&bank, 1).await;
        // A busy machine may make it slow once, and not each time.
        let mut least = TAKES;
        for _ in 0..4 {
            let started = Instant::now();
            assert_eq!(bank.charge("k", SLOW, 100).await.1["outcome"], "succeeded");
            least = least.min(started.elapsed());
        }
        assert!(least < TAKES, "a repetition is slow again");
    }

    #[tokio::test]
    async fn silence_has_no_effect_and_ends_when_the_bank_stops() {
        let bank = Arc::new(TestBank::open().await);
        let asked = tokio::spawn({
            let bank = bank.clone();
            async move { bank.charge("k", NEVER_ANSWERS, 100).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!asked.is_finished());
        bank.stop.cancel();
        let (status, _) = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status, 503);
        assert_eq!(bank.movements().await, 0);
    }

    #[tokio::test]
    async fn what_was_answered_survives_a_kill() {
        let bank = TestBank::open().await;
        let (_, first) = bank.charge("k", FINE, 4500).await;
        let bank = bank.after_a_kill().await;
        assert_eq!(bank.charge("k", FINE, 4500).await.1, first);
        assert_eq!(bank.get("/v1/balance").await.1["charged_minor"], 4500);
    }

    #[tokio::test]
    async fn bad_input_names_its_field_and_changes_nothing() {
        let bank = TestBank::open().await;
        let broken = |field: &str, value: serde_json::Value| {
            let mut body = charge(FINE, 100);
            body[field] = value;
            body
        };
        for (field, value) in [
            ("amount_minor", json!(0)),
            ("amount_minor", json!(-1)),
            ("amount_minor", json!(i64::MAX)),
            ("amount_minor", json!("1")),
            ("card", json!("42")),
            ("card", json!("4242 4242 4242 42")),
            ("currency", json!("eur")),
            ("currency", json!("ZZZ")),
            ("currency", json!("EU\u{0}")),
            ("reference", json!("x")),
            ("more", json!(1)),
        ] {
            let (status, problem) = bank.post("/v1/charges", "k", &broken(field, value)).await;
            assert_eq!(
                (status.as_u16(), &problem["field"]),
                (422, &json!(field)),
                "{problem}"
            );
        }
        assert_eq!(bank.movements().await, 0);
    }

    #[tokio::test]
    async fn only_who_shows_the_key_is_served() {
        let bank = TestBank::open().await;
        for shown in [
            None,
            Some("Bearer x"),
            Some("the key of the tests"),
            Some("Bearer "),
        ] {
            let mut request = Request::get("/v1/movements");
            if let Some(shown) = shown {
                request = request.header(header::AUTHORIZATION, shown);
            }
            let (status, problem) = bank.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (status.as_u16(), &problem["type"]),
                (401, &json!("/problems/unauthorized"))
            );
        }
        let open = Request::get("/api/bank/openapi.json")
            .body(Body::empty())
            .unwrap();
        assert_eq!(bank.send(open).await.0, 200);
    }
}
