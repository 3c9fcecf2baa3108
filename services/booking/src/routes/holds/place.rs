//! `POST /api/booking/holds`: keep named seats, or the best free ones, for a short time.
//!
//! Transaction `place_hold`, read committed: the rows that decide are locked before they are
//! changed, and a locked row is skipped, so concurrent requests never wait for one another's seats
//! and none of them needs a snapshot. Requests of one account for one event take turns ([`limit`]).

mod limit;
mod request;
mod take;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Account;
use problem::Problem;
use problem::extract::Json;
use transaction::Isolation;
use uuid::Uuid;

use self::request::{PlaceHold, Wanted};
use crate::app::App;
use crate::holds::Hold;
use crate::metrics;
use crate::reply::{self, Reply};
use crate::routes::answers;

/// How often seats that are merely locked are tried before the client is asked to come again.
const TRIES: u32 = 3;

/// Keep seats for a short time.
///
/// Names the `seats`, or asks for the `best` free ones, never both. `event_id` is the `id` of an event
/// of `list_events` in the catalogue. The prices are frozen, and the seats kept, until `expires_at`.
///
/// An account keeps 50 seats of an event at most at a time without having paid, unless the operator
/// set another number: in active holds, and in orders that are `pending` or `declined`. Seats that
/// are paid, given back or expired do not count.
#[utoipa::path(
    post,
    path = "/api/booking/holds",
    operation_id = "place_hold",
    tag = "holds",
    params(Key),
    request_body(content = PlaceHold, examples(
        ("best" = (summary = "The best free seats", value = json!({
            "event_id": "00000000-0000-7000-8000-000000000001", "best": {"count": 2},
        }))),
        ("seats" = (summary = "Seats by name", value = json!({
            "event_id": "00000000-0000-7000-8000-000000000001",
            "seats": [
                {"section": "Balcony", "row": "51", "number": 1},
                {"section": "Balcony", "row": "51", "number": 2},
            ],
        }))),
    )),
    security(("session" = [])),
    responses(
        answers::Write,
        (status = 201, description = "The seats are held", body = Hold,
            headers(("Location" = String, description = "Where the hold can be read"))),
        (status = 404, description = "not-found: no such event is on sale", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "event-began, seats-taken, sold-out, seat-limit-reached; seats-busy, busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn place(
    State(app): State<App>,
    account: Account,
    key: Key,
    Json(request): Json<PlaceHold>,
) -> Result<Reply, Problem> {
    let request_hash = idempotency::hash(&request)?;
    let event_id = request.event_id;
    let wanted = request.checked()?;
    let operation = Operation {
        account_id: account.id,
        name: "place_hold",
        key: &key,
        request_hash,
    };
    let mut attempt = 1;
    let outcome = loop {
        match place_once(&app, &operation, event_id, &wanted).await {
            Err(problem) if problem.slug() == take::BUSY && attempt < TRIES => {
                tokio::time::sleep(pause(attempt, rand::random())).await;
                attempt += 1;
            }
            outcome => break outcome,
        }
    };
    metrics::hold(reply::result(&outcome));
    outcome
}

async fn place_once(
    app: &App,
    operation: &Operation<'_>,
    event_id: Uuid,
    wanted: &Wanted,
) -> Result<Reply, Problem> {
    transaction::run(
        &app.pool,
        "place_hold",
        Isolation::ReadCommitted,
        |mut tx| async move {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Reply::Again(first));
            }
            limit::keep(
                &mut tx,
                operation.account_id,
                event_id,
                wanted,
                app.seats_per_account,
            )
            .await?;
            let seats = take::lock(&mut tx, event_id, wanted).await?;
            let hold = take::hold(
                &mut tx,
                operation.account_id,
                event_id,
                &seats,
                app.hold_for,
            )
            .await?;
            let answer = Answer::json(StatusCode::CREATED, &hold)?
                .at(format!("/api/booking/holds/{}", hold.id));
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done(Reply::First(answer))
        },
    )
    .await
}

/// A moment for whoever has the seats locked to end: up to 10 ms, then up to 20 ms.
fn pause(attempt: u32, random: u16) -> Duration {
    Duration::from_millis(10)
        .saturating_mul(attempt)
        .mul_f64(f64::from(random) / f64::from(u16::MAX))
}
