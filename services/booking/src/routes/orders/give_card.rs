//! `POST /api/booking/orders/{id}/card`: another card for an order whose card was declined.
//!
//! Transaction `give_new_card`, read committed: the order is locked before its state is judged.
//! The attempt, which is part of the key at the bank, advances here and nowhere else: only after a
//! definite decline. The deadline, which the first decline has set, does not move here: an order
//! keeps its seats without paying until then, however many cards are given. How many are tried is the
//! worker's to judge, who ends an order with the last one.

use axum::extract::State;
use axum::http::StatusCode;
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Account;
use messages::outbox::{Destination, Kind};
use problem::Problem;
use problem::extract::{Json, Path};
use serde::{Deserialize, Serialize};
use transaction::Isolation;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::orders::{self, Order, State as OrderState};
use crate::reply::Reply;
use crate::routes::{answers, events};
use crate::text;
use crate::trace_context::TraceContext;

/// Who pays.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveCard {
    /// Sandbox card number.
    #[schema(example = "4242424242424242", pattern = "^[0-9]{16}$")]
    pub card: String,
}

/// Give another card after a decline.
///
/// The payment is tried again with this card. The first decline sets `payment_due_at`, and another card
/// does not move it. An order is tried with five cards at most: where the fifth is declined, or
/// `payment_due_at` passes, it expires and its seats are free.
#[utoipa::path(
    post,
    path = "/api/booking/orders/{id}/card",
    operation_id = "give_card",
    tag = "orders",
    params(
        ("id" = Uuid, Path, description = "The `id` of an order of yours"),
        Key,
    ),
    request_body(content = GiveCard, example = json!({"card": "4242424242424242"})),
    security(("session" = [])),
    responses(
        answers::Write,
        (status = 202, description = "The payment is tried again", body = Order,
            headers(("Location" = String, description = "Where the order can be read"))),
        (status = 404, description = "not-found", body = problem::Body, content_type = "application/problem+json"),
        (status = 409, description = "event-began, order-not-declined; busy (with Retry-After)", body = problem::Body, content_type = "application/problem+json"),
    )
)]
pub async fn give_card(
    State(app): State<App>,
    account: Account,
    Path(id): Path<Uuid>,
    key: Key,
    trace: TraceContext,
    Json(request): Json<GiveCard>,
) -> Result<Reply, Problem> {
    text::sandbox_number("card", &request.card)?;
    let operation = &Operation {
        account_id: account.id,
        name: "give_new_card",
        key: &key,
        request_hash: idempotency::hash(&(id, &request))?,
    };
    let (request, trace) = (&request, &trace);
    transaction::run(
        &app.pool,
        "give_new_card",
        Isolation::ReadCommitted,
        |mut tx| async move {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Reply::Again(first));
            }
            let order = orders::lock(&mut tx, account.id, id).await?;
            if order.state != OrderState::Declined {
                return Err(not_declined(match order.state {
                    OrderState::Expired => "the order was not paid in time, or with too many cards",
                    _ => "a new card is asked for only after the bank declined one",
                }));
            }
            if order.event_begun {
                return Err(events::began());
            }
            if !order.may_pay {
                return Err(not_declined("the time for another card is over"));
            }
            sqlx::query!(
                "UPDATE orders SET card = $2, attempt = attempt + 1, state = 'pending',
                updated_at = clock_timestamp()
            WHERE id = $1",
                id,
                request.card
            )
            .execute(&mut *tx)
            .await?;
            outbox::append(
                &mut tx,
                Destination::Payments,
                id,
                Kind::Charge,
                trace.parent(),
            )
            .await?;
            let order: Order = orders::read_one(&mut tx, account.id, id).await?;
            let answer = Answer::json(StatusCode::ACCEPTED, &order)?.at(orders::location(id));
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done(Reply::First(answer))
        },
    )
    .await
}

fn not_declined(why: &'static str) -> Problem {
    Problem::conflict("order-not-declined", "No card is asked for", why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::PgPool;

    use crate::fixture::{Fixture, who};
    use crate::orders::{Order, State};

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_new_card_begins_the_next_attempt_and_asks_for_a_charge(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        let order = house.order(&ann, 1).await;
        let path = format!("/api/booking/orders/{}/card", order.id);
        let body = json!({"card": "4242424242424242"});

        let early = house.post(&ann, &path, "early", &body).await;
        assert_eq!(early.problem().0, "order-not-declined");

        house.decline(order.id).await;
        let read = format!("/api/booking/orders/{}", order.id);
        let declined: Order = house.get(&ann, &read).await.expect(200);
        let first = house.post(&ann, &path, "again", &body).await;
        let again: Order = first.expect(202);
        assert_eq!((again.state, again.attempt), (State::Pending, 2));
        assert_eq!(again.payment_due_at, declined.payment_due_at);
        assert!(declined.payment_due_at.is_some(), "the deadline stays");
        assert_eq!(house.outbox_kinds(order.id).await, ["charge", "charge"]);

        let repeated = house.post(&ann, &path, "again", &body).await;
        assert_eq!((repeated.status, repeated.body), (202, first.body));
        assert_eq!(house.outbox_kinds(order.id).await.len(), 2);
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn a_card_is_sixteen_digits_and_the_order_is_ones_own_and_in_time(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        let order = house.order(&ann, 1).await;
        house.decline(order.id).await;
        let path = format!("/api/booking/orders/{}/card", order.id);

        let short = house.post(&ann, &path, "k1", &json!({"card": "42"})).await;
        assert_eq!(
            short.problem(),
            ("invalid-request".to_owned(), Some("card".to_owned()))
        );
        let body = json!({"card": "4242424242424242"});
        assert_eq!(
            house
                .post(&who("customer"), &path, "k2", &body)
                .await
                .status,
            404
        );

        sqlx::query("UPDATE orders SET payment_due_at = clock_timestamp()")
            .execute(&house.pool)
            .await
            .unwrap();
        let late = house.post(&ann, &path, "k3", &body).await;
        assert_eq!(late.problem().0, "order-not-declined");
    }

    #[sqlx::test(migrations = "./migrations")]
    #[ignore = "needs the stores: make test"]
    async fn no_card_is_taken_once_the_event_has_begun(pool: PgPool) {
        let house = Fixture::with_seats(pool, 1, 1).await;
        let ann = who("customer");
        let order = house.order(&ann, 1).await;
        house.decline(order.id).await;
        house.begin(0.0).await;
        let path = format!("/api/booking/orders/{}/card", order.id);
        let body = json!({"card": "4242424242424242"});
        let late = house.post(&ann, &path, "k", &body).await;
        assert_eq!(
            (late.status, late.problem().0.as_str()),
            (409, "event-began")
        );
        assert_eq!(house.outbox_kinds(order.id).await, ["charge"]);
    }
}
