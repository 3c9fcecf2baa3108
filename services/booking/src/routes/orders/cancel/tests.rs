//! The promises of a cancellation, on a real database.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::fixture::{Fixture, who};
use crate::orders::{Order, State};

async fn set_state(house: &Fixture, order_id: Uuid, state: &str) {
    sqlx::query("UPDATE orders SET state = $2 WHERE id = $1")
        .bind(order_id)
        .bind(state)
        .execute(&house.pool)
        .await
        .unwrap();
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn while_the_payment_is_under_way_it_is_a_request_made_once(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let order = house.order(&ann, 1).await;
    assert_eq!(house.cancel(&who("customer"), order.id).await.status, 404);
    for _ in 0..2 {
        let asked: Order = house.cancel(&ann, order.id).await.expect(202);
        assert_eq!(
            (asked.state, asked.cancel_requested),
            (State::Pending, true)
        );
    }
    assert_eq!(house.outbox_kinds(order.id).await, ["charge", "refund"]);
    assert_eq!(
        house.try_hold(&ann, 1).await.problem().0,
        "sold-out",
        "the seat is not free yet"
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_paid_order_is_refunded_and_its_tickets_are_worthless_at_once(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let order = house.order(&ann, 2).await;
    house.pay(order.id).await;
    for _ in 0..2 {
        let asked: Order = house.cancel(&ann, order.id).await.expect(202);
        assert_eq!(
            (asked.state, asked.cancel_requested),
            (State::Cancelling, true)
        );
    }
    assert_eq!(house.outbox_kinds(order.id).await, ["charge", "refund"]);
    let valid: i64 = sqlx::query_scalar("SELECT count(*) FROM tickets WHERE state <> 'cancelled'")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_eq!(valid, 0);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_declined_order_ends_at_once_and_frees_its_seats(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let order = house.order(&ann, 1).await;
    house.decline(order.id).await;
    let ended: Order = house.cancel(&ann, order.id).await.expect(202);
    assert_eq!(
        (ended.state, ended.payment_due_at),
        (State::Cancelled, None)
    );
    assert_eq!(
        house.outbox_kinds(order.id).await,
        ["charge"],
        "there is nothing to refund"
    );
    assert_eq!(house.try_hold(&ann, 1).await.status, 201);
    let again: Order = house.cancel(&ann, order.id).await.expect(202);
    assert_eq!(again.state, State::Cancelled);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_final_order_stays_as_it_is(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let expired = house.order(&ann, 1).await;
    set_state(&house, expired.id, "expired").await;
    assert_eq!(
        house.cancel(&ann, expired.id).await.problem().0,
        "order-final"
    );

    let paid = house.order(&ann, 1).await;
    house.pay(paid.id).await;
    sqlx::query("UPDATE events SET starts_at = clock_timestamp()")
        .execute(&house.pool)
        .await
        .unwrap();
    assert_eq!(house.cancel(&ann, paid.id).await.problem().0, "order-final");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn an_order_with_a_used_ticket_cannot_be_cancelled(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let order = house.order(&ann, 2).await;
    let tickets = house.pay(order.id).await;
    sqlx::query(
        "UPDATE tickets SET state = 'admitted', admitted_at = clock_timestamp() WHERE id = $1",
    )
    .bind(tickets[1])
    .execute(&house.pool)
    .await
    .unwrap();
    assert_eq!(
        house.cancel(&ann, order.id).await.problem().0,
        "ticket-admitted"
    );
    let path = format!("/api/booking/orders/{}", order.id);
    assert_eq!(
        house.get(&ann, &path).await.expect::<Order>(200).state,
        State::Paid
    );
    assert_eq!(house.outbox_kinds(order.id).await, ["charge"]);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_key_gets_its_first_answer_again(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let (order, other) = (house.order(&ann, 1).await, house.order(&ann, 1).await);
    let path = |id: Uuid| format!("/api/booking/orders/{id}/cancel");
    let first = house.post(&ann, &path(order.id), "k", &json!({})).await;
    set_state(&house, order.id, "cancelled").await;
    let again = house.post(&ann, &path(order.id), "k", &json!({})).await;
    assert_eq!((again.status, again.body), (202, first.body));
    let reused = house.post(&ann, &path(other.id), "k", &json!({})).await;
    assert_eq!(reused.problem().0, "idempotency-key-reused");
}
