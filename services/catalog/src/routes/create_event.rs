//! `POST /api/catalog/events`: an organiser creates a draft.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use idempotency::{Answer, Key, Operation};
use messages::account::Account;
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, DOOR, KEY, SESSION};

use crate::event::{Draft, Event};
use crate::{Catalog, keys, rules};

/// How often the transaction is tried while another request with the same key is under way.
const ATTEMPTS: u32 = 5;

/// For how long after it came the request is tried anew. With what the last try takes, that is less
/// than it may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Create an event.
///
/// A draft, which only its organiser sees until it is published.
#[utoipa::path(
    post,
    path = "/api/catalog/events",
    operation_id = "create_event",
    tag = "organisers",
    params(Key),
    request_body(content = Draft, example = Draft::example),
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION | BODY | KEY }>,
        (status = 201, description = "created", body = Event, headers(("Location" = String, description = "where the organiser reads it"))),
        (status = 403, description = "forbidden: only organisers", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "busy (with Retry-After): the same key is under way", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn create_event(
    State(catalog): State<Arc<Catalog>>,
    account: Account,
    key: Key,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let account = account.organiser()?;
    let operation = Operation {
        account_id: account.id,
        name: "create_event",
        key: &key,
        request_hash: idempotency::hash(&draft)?,
    };
    // Before the rules: a repetition gets its answer also when the start is no longer ahead.
    if let Some(again) = keys::find(&catalog.events, &operation).await? {
        return Ok(again.into_response());
    }
    let draft = rules::spell(draft, None);
    rules::check(&draft, None, Utc::now())?;
    let event = Event::create(account.id, draft);
    let location = format!("/api/catalog/my-events/{}", event.id);
    let answer = Answer::json(StatusCode::CREATED, &event)?.at(location);
    for attempt in 1..=ATTEMPTS {
        let key = keys::item(&operation, &answer);
        if catalog.events.create(&event, key).await? {
            return Ok(answer.into_response());
        }
        if let Some(again) = keys::find(&catalog.events, &operation).await? {
            return Ok(again.into_response());
        }
        if began.elapsed() > PATIENCE {
            break;
        }
        let longest = 20 * u64::from(attempt);
        tokio::time::sleep(Duration::from_millis(rand::random_range(5..=longest))).await;
    }
    Err(Problem::busy("a request with this key is under way"))
}

#[cfg(test)]
mod tests {
    use service::http::REQUEST_TIMEOUT;
    use uuid::Uuid;

    use super::*;
    use crate::table::OPERATION_TIMEOUT;
    use crate::trial::{self, As, Trial};

    const PATH: &str = "/api/catalog/events";

    #[test]
    fn the_last_try_ends_before_the_request() {
        let last = Duration::from_millis(20) * ATTEMPTS + 2 * OPERATION_TIMEOUT;
        assert!(PATIENCE + last < REQUEST_TIMEOUT);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_repetition_gets_the_same_answer_and_another_body_is_refused() {
        let trial = Trial::begin().await;
        let (who, key) = (As::Organiser(Uuid::now_v7()), Uuid::now_v7().to_string());
        let headers = [("idempotency-key", key.as_str())];
        let draft = trial::draft(&trial::city());
        let (status, first) = trial.send("POST", PATH, who, &headers, &draft).await;
        assert_eq!(
            (status, &first["state"]),
            (StatusCode::CREATED, &"draft".into())
        );
        let again = trial.send("POST", PATH, who, &headers, &draft).await;
        assert_eq!(again, (StatusCode::CREATED, first));
        let other = Draft {
            title: "Another".to_owned(),
            ..draft.clone()
        };
        let (status, problem) = trial.send("POST", PATH, who, &headers, &other).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["type"], "/problems/idempotency-key-reused");
        // Keys are an account's own.
        let stranger = As::Organiser(Uuid::now_v7());
        let (status, _) = trial.send("POST", PATH, stranger, &headers, &other).await;
        assert_eq!(status, StatusCode::CREATED);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn the_same_key_sent_in_parallel_creates_one_event() {
        let trial = Arc::new(Trial::begin().await);
        let (who, key) = (As::Organiser(Uuid::now_v7()), Uuid::now_v7().to_string());
        let draft = trial::draft(&trial::city());
        let sent = (0..12).map(|_| {
            let (trial, key, draft) = (trial.clone(), key.clone(), draft.clone());
            tokio::spawn(async move {
                trial
                    .send("POST", PATH, who, &[("idempotency-key", &key)], &draft)
                    .await
            })
        });
        let mut ids = std::collections::HashSet::new();
        for sent in sent.collect::<Vec<_>>() {
            let (status, event) = sent.await.unwrap();
            assert_eq!(status, StatusCode::CREATED, "{event}");
            ids.insert(event["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 1);
        let (_, mine) = trial.get("/api/catalog/my-events", who).await;
        assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn only_organisers_with_a_key_and_good_fields_create() {
        let trial = Trial::begin().await;
        let (who, key) = (As::Organiser(Uuid::now_v7()), Uuid::now_v7().to_string());
        let headers = [("idempotency-key", key.as_str())];
        let mut draft = trial::draft("Faro");
        let customer = As::Customer(Uuid::now_v7());
        assert_eq!(
            trial
                .send("POST", PATH, As::Nobody, &headers, &draft)
                .await
                .0,
            401
        );
        assert_eq!(
            trial.send("POST", PATH, customer, &headers, &draft).await.0,
            403
        );
        assert_eq!(trial.send("POST", PATH, who, &[], &draft).await.0, 400);
        draft.sections[1].rows = 0;
        let (status, problem) = trial.send("POST", PATH, who, &headers, &draft).await;
        assert_eq!(
            (status.as_u16(), &problem["field"]),
            (422, &"sections[1].rows".into())
        );
        draft.sections[1].rows = 1;
        let (status, _) = trial.send("POST", PATH, who, &headers, &draft).await;
        assert_eq!(
            status,
            StatusCode::CREATED,
            "a refusal stores nothing under the key"
        );
    }
}
