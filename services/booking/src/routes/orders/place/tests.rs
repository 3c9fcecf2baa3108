//! The promises of an order, on a real database.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::fixture::{Fixture, who};
use crate::holds::{Hold, State as HoldState};
use crate::orders::{Order, State};

const ORDERS: &str = "/api/booking/orders";

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn an_order_has_its_seats_and_asks_for_its_charge(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 3).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 2).await;
    let answer = house.try_order(&ann, hold.id).await;
    let order: Order = answer.expect(202);
    assert_eq!(answer.headers["location"], format!("{ORDERS}/{}", order.id));
    assert_eq!(
        (order.state, order.attempt, order.total_minor),
        (State::Pending, 1, 9000)
    );
    assert_eq!(order.seats, hold.seats);

    let read: Order = house
        .get(&ann, &format!("{ORDERS}/{}", order.id))
        .await
        .expect(200);
    assert_eq!(
        serde_json::to_value(read).unwrap(),
        serde_json::to_value(&order).unwrap()
    );
    assert_eq!(
        house
            .get(&who("customer"), &format!("{ORDERS}/{}", order.id))
            .await
            .status,
        404
    );
    let hold: Hold = house
        .get(&ann, &format!("/api/booking/holds/{}", hold.id))
        .await
        .expect(200);
    assert_eq!(hold.state, HoldState::Ordered);

    let (destination, kind, sequence, parent): (String, String, i64, String) = sqlx::query_as(
        "SELECT destination, kind, sequence, traceparent FROM outbox WHERE group_id = $1",
    )
    .bind(order.id)
    .fetch_one(&house.pool)
    .await
    .unwrap();
    assert_eq!(
        (destination.as_str(), kind.as_str(), sequence),
        ("payments", "charge", 1)
    );
    assert_eq!(
        parent,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    );
    assert_eq!(house.try_hold(&ann, 2).await.problem().0, "sold-out");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn only_ones_own_active_hold_can_be_ordered_and_only_once(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 3).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 1).await;
    assert_eq!(house.try_order(&who("customer"), hold.id).await.status, 404);
    assert_eq!(house.try_order(&ann, Uuid::now_v7()).await.status, 404);
    assert_eq!(house.try_order(&ann, hold.id).await.status, 202);
    assert_eq!(
        house.try_order(&ann, hold.id).await.problem().0,
        "hold-ordered"
    );
    let lapsed = house.hold(&ann, 1).await;
    house.expire(lapsed.id).await;
    assert_eq!(
        house.try_order(&ann, lapsed.id).await.problem().0,
        "hold-expired"
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_hold_whose_seat_another_customer_took_cannot_be_ordered(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let (ann, bob) = (who("customer"), who("customer"));
    let hold = house.hold(&ann, 2).await;
    // Only the seats' time is over: the worst case, in which the hold's own clock would let it pass.
    sqlx::query("UPDATE seats SET held_until = clock_timestamp()")
        .execute(&house.pool)
        .await
        .unwrap();
    let stolen = house.hold(&bob, 1).await;
    assert_eq!(
        house.try_order(&ann, hold.id).await.problem().0,
        "hold-expired"
    );

    let path = format!("/api/booking/holds/{}", hold.id);
    assert_eq!(
        house.get(&ann, &path).await.expect::<Hold>(200).state,
        HoldState::Active
    );
    let kept: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM outbox)
            + (SELECT count(*) FROM seats WHERE order_id IS NOT NULL)",
    )
    .fetch_one(&house.pool)
    .await
    .unwrap();
    assert_eq!(kept, 0, "a refused order changes nothing");
    assert_eq!(house.try_order(&bob, stolen.id).await.status, 202);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn the_clock_is_asked_after_the_hold_is_locked(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 1).await;
    for change in [
        "UPDATE holds SET expires_at = clock_timestamp() + interval '300 ms'",
        "UPDATE seats SET held_until = clock_timestamp() + interval '300 ms'",
    ] {
        sqlx::query(change).execute(&house.pool).await.unwrap();
    }
    let mut other = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM holds FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let (answer, ()) = tokio::join!(house.try_order(&ann, hold.id), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        other.rollback().await.unwrap();
    });
    assert_eq!(answer.problem().0, "hold-expired");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_hold_of_an_event_that_has_begun_cannot_be_ordered(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 1).await;
    let ordered = house.order(&ann, 1).await;
    // It begins while the request waits for the hold: the clock is asked after that.
    house.begin(300.0).await;
    let mut other = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM holds FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let (answer, ()) = tokio::join!(house.try_order(&ann, hold.id), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        other.rollback().await.unwrap();
    });
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (409, "event-began")
    );
    let again = house.try_order(&ann, ordered.hold_id).await;
    assert_eq!(again.problem().0, "hold-ordered");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn what_has_no_seats_is_read_all_the_same(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let order = house.order(&ann, 1).await;
    for table in ["order_seats", "hold_seats"] {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))
            .execute(&house.pool)
            .await
            .unwrap();
    }
    let read: Order = house
        .get(&ann, &format!("{ORDERS}/{}", order.id))
        .await
        .expect(200);
    let hold: Hold = house
        .get(&ann, &format!("/api/booking/holds/{}", order.hold_id))
        .await
        .expect(200);
    assert!(read.seats.is_empty() && hold.seats.is_empty());
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_key_sent_in_parallel_makes_one_order_and_gets_the_same_bytes(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 1).await;
    let body = json!({"hold_id": hold.id, "card": "4242424242424242"});
    let answers = join_all((0..5).map(|_| house.post(&ann, ORDERS, "k", &body))).await;
    let order: Order = answers[0].expect(202);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (202, &answers[0].body));
        assert_eq!(answer.headers["location"], format!("{ORDERS}/{}", order.id));
    }
    let first: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.headers.contains_key("idempotency-replayed"))
        .collect();
    assert_eq!(first.len(), 1);
    assert_eq!(house.outbox_kinds(order.id).await, ["charge"]);

    let other = json!({"hold_id": hold.id, "card": "4000000000000002"});
    let reused = house.post(&ann, ORDERS, "k", &other).await;
    assert_eq!(
        (reused.status, reused.problem().0.as_str()),
        (422, "idempotency-key-reused")
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_refused_order_stores_nothing_so_its_key_may_come_again(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 1).await;
    let body = json!({"hold_id": hold.id, "card": "4242424242424242"});
    sqlx::query("UPDATE holds SET expires_at = clock_timestamp()")
        .execute(&house.pool)
        .await
        .unwrap();
    assert_eq!(
        house.post(&ann, ORDERS, "k", &body).await.problem().0,
        "hold-expired"
    );
    sqlx::query("UPDATE holds SET expires_at = clock_timestamp() + interval '1 minute'")
        .execute(&house.pool)
        .await
        .unwrap();
    assert_eq!(house.post(&ann, ORDERS, "k", &body).await.status, 202);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_card_has_sixteen_digits(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    for card in [
        "",
        "4242",
        "4242 4242 4242 4242",
        "424242424242424x",
        "42424242424242424",
    ] {
        let body = json!({"hold_id": Uuid::now_v7(), "card": card});
        let answer = house.post(&ann, ORDERS, "k", &body).await;
        assert_eq!(
            (answer.status, answer.problem().1.as_deref()),
            (422, Some("card")),
            "{card}"
        );
    }
}
