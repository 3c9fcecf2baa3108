//! The promises of a hold, on a real database.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use super::request::{Best, Wanted};
use super::take;
use crate::fixture::{Answer, Fixture, SEATS_PER_ACCOUNT, who};
use crate::holds::{Hold, State};
use crate::{TIMEOUTS, WRITE_TIMEOUT};

const HOLDS: &str = "/api/booking/holds";

fn numbers(hold: &Hold) -> Vec<i32> {
    hold.seats.iter().map(|seat| seat.number).collect()
}

async fn named(house: &Fixture, who: &messages::account::Account, seats: &[i32]) -> Answer {
    let seats: Vec<_> = seats
        .iter()
        .map(|n| json!({"section": "Stalls", "row": "1", "number": n}))
        .collect();
    let body = json!({"event_id": house.event_id, "seats": seats});
    house
        .post(who, HOLDS, &Uuid::now_v7().to_string(), &body)
        .await
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn the_best_seats_are_held_in_rank_order_at_a_frozen_price(pool: PgPool) {
    let house = Fixture::with_seats(pool, 2, 3).await;
    let ann = who("customer");
    let answer = house.try_hold(&ann, 2).await;
    let hold: Hold = answer.expect(201);
    assert_eq!(answer.headers["location"], format!("{HOLDS}/{}", hold.id));
    assert_eq!(numbers(&hold), [1, 2]);
    assert_eq!((hold.total_minor, hold.currency.as_str()), (9000, "EUR"));
    let left = hold.expires_at - chrono::Utc::now();
    assert!((100..=120).contains(&left.num_seconds()), "{left}");

    sqlx::query("UPDATE seats SET price_minor = 1")
        .execute(&house.pool)
        .await
        .unwrap();
    let read: Hold = house
        .get(&ann, &format!("{HOLDS}/{}", hold.id))
        .await
        .expect(200);
    assert_eq!(
        (read.state, read.seats, read.total_minor),
        (State::Active, hold.seats, 9000)
    );
    assert_eq!(
        house
            .get(&who("customer"), &format!("{HOLDS}/{}", hold.id))
            .await
            .status,
        404
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn fifty_customers_never_share_one_of_thirty_seats(pool: PgPool) {
    let house = Fixture::with_seats(pool, 3, 10).await;
    let tries = (0..50).map(|_| async {
        let ann = who("customer");
        loop {
            let answer = house.try_hold(&ann, 1).await;
            // Merely locked seats are no answer yet: come again, as Retry-After says.
            if answer.status != 409 || answer.problem().0 != "seats-busy" {
                break answer;
            }
        }
    });
    let answers = join_all(tries).await;
    let (held, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((held.len(), refused.len()), (30, 20));
    assert!(
        refused
            .iter()
            .all(|answer| answer.problem().0 == "sold-out")
    );
    let seats: HashSet<_> = held
        .iter()
        .map(|answer| answer.expect::<Hold>(201).seats[0].clone())
        .map(|seat| (seat.row, seat.number))
        .collect();
    assert_eq!(seats.len(), 30);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn customers_who_name_the_same_seats_in_any_order_never_share_one(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 4).await;
    let mut any = false;
    for _ in 0..5 {
        let wishes = [vec![1, 2, 3], vec![3, 2, 1], vec![2, 4], vec![4, 1]];
        let asked = wishes.map(|wish| {
            let house = &house;
            async move { named(house, &who("customer"), &wish).await }
        });
        let mut held = HashSet::new();
        for answer in join_all(asked).await {
            if answer.status == 201 {
                let hold: Hold = answer.expect(201);
                assert!(numbers(&hold).into_iter().all(|number| held.insert(number)));
            } else {
                assert!(["seats-taken", "seats-busy"].contains(&answer.problem().0.as_str()));
            }
        }
        any |= !held.is_empty();
        sqlx::query("UPDATE seats SET hold_id = NULL, held_until = NULL")
            .execute(&house.pool)
            .await
            .unwrap();
    }
    assert!(any, "somebody holds something");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_seat_whose_hold_expired_is_free_at_once(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let ann = who("customer");
    let hold = house.hold(&ann, 2).await;
    assert_eq!(
        house.try_hold(&who("customer"), 1).await.problem().0,
        "sold-out"
    );
    house.expire(hold.id).await;
    assert_eq!(named(&house, &who("customer"), &[1]).await.status, 201);
    assert_eq!(house.try_hold(&who("customer"), 1).await.status, 201);
    let path = format!("{HOLDS}/{}", hold.id);
    assert_eq!(
        house.get(&ann, &path).await.expect::<Hold>(200).state,
        State::Expired
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn seats_that_are_only_locked_are_busy_and_never_sold_out(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 3).await;
    let mut other = house.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE number < 3 FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();

    let started = Instant::now();
    let best = house.try_hold(&who("customer"), 2).await;
    let by_name = named(&house, &who("customer"), &[1, 3]).await;
    for answer in [&best, &by_name] {
        assert_eq!(
            (answer.status, answer.problem().0.as_str()),
            (409, "seats-busy")
        );
        assert_eq!(answer.headers["retry-after"], "1");
    }
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "nobody waits for a lock"
    );
    assert_eq!(
        numbers(&house.hold(&who("customer"), 1).await),
        [3],
        "what is not locked is had"
    );

    other.rollback().await.unwrap();
    assert_eq!(numbers(&house.hold(&who("customer"), 2).await), [1, 2]);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn seats_that_cannot_be_had_are_named(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 5).await;
    let ann = who("customer");
    house.order(&ann, 1).await;
    house.hold(&ann, 1).await;
    let refused = |answer: Answer| (answer.status, answer.problem());
    let taken = |field: &str| (409, ("seats-taken".to_owned(), Some(field.to_owned())));
    assert_eq!(
        refused(named(&house, &ann, &[5, 1]).await),
        taken("seats[1]")
    );
    assert_eq!(refused(named(&house, &ann, &[2]).await), taken("seats[0]"));
    let missing = (
        422,
        ("invalid-request".to_owned(), Some("seats[1]".to_owned())),
    );
    assert_eq!(refused(named(&house, &ann, &[5, 6]).await), missing);
    assert_eq!(named(&house, &ann, &[3, 4, 5]).await.status, 201);

    let unknown = Uuid::now_v7();
    for body in [
        json!({"event_id": unknown, "best": {"count": 1}}),
        json!({"event_id": unknown, "seats": [{"section": "A", "row": "1", "number": 1}]}),
    ] {
        let key = Uuid::now_v7().to_string();
        assert_eq!(house.post(&ann, HOLDS, &key, &body).await.status, 404);
    }
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn the_best_seats_of_a_section_are_of_that_section(pool: PgPool) {
    let house = Fixture::empty(pool);
    let event_id = Uuid::now_v7();
    let mut seating = crate::fixture::seating(Uuid::now_v7(), 1, 2);
    seating["sections"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "Balcony", "rows": 1, "seats_per_row": 1, "price_minor": 900}));
    assert_eq!(
        house
            .put(&format!("/internal/events/{event_id}"), &seating)
            .await
            .status,
        201
    );
    let ask = async |section: &str| {
        let body = json!({"event_id": event_id, "best": {"count": 1, "section": section}});
        house
            .post(&who("customer"), HOLDS, &Uuid::now_v7().to_string(), &body)
            .await
    };
    let hold: Hold = ask("Balcony").await.expect(201);
    assert_eq!(
        (hold.seats[0].section.as_str(), hold.total_minor),
        ("Balcony", 900)
    );
    assert_eq!(ask("Balcony").await.problem().0, "sold-out");
    assert_eq!(
        ask("Moon").await.problem().1.as_deref(),
        Some("best.section")
    );
    assert_eq!(ask("Stalls").await.status, 201);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn nothing_of_an_event_that_has_begun_is_held(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 3).await;
    let ann = who("customer");
    house.order(&ann, 1).await;
    house.begin(0.0).await;
    let refused = [
        house.try_hold(&ann, 1).await,
        named(&house, &ann, &[2, 3]).await,
        // Not what is also true of these: that they are sold out, and taken.
        house.try_hold(&ann, 3).await,
        named(&house, &ann, &[1]).await,
    ];
    for answer in refused {
        assert_eq!(
            (answer.status, answer.problem().0.as_str()),
            (409, "event-began")
        );
    }
    let held: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM holds WHERE state = 'active')
            + (SELECT count(*) FROM seats WHERE hold_id IS NOT NULL)",
    )
    .fetch_one(&house.pool)
    .await
    .unwrap();
    assert_eq!(held, 0);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn the_start_is_judged_where_the_seats_are_taken(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 2).await;
    let wanted = Wanted::Best(Best {
        count: 2,
        section: None,
    });
    let mut tx = house.pool.begin().await.unwrap();
    let seats = take::lock(&mut tx, house.event_id, &wanted).await.unwrap();
    house.begin(0.0).await;
    let hold_for = Duration::from_secs(120);
    let late = take::hold(&mut tx, Uuid::now_v7(), house.event_id, &seats, hold_for).await;
    assert_eq!(late.unwrap_err().slug(), "event-began");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_key_gets_its_first_answer_again_even_when_the_hold_is_over(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let ann = who("customer");
    let body = json!({"event_id": house.event_id, "best": {"count": 1}});
    let first = house.post(&ann, HOLDS, "k", &body).await;
    house.expire(first.expect::<Hold>(201).id).await;
    house.order(&who("customer"), 1).await;

    let again = house.post(&ann, HOLDS, "k", &body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(again.headers["idempotency-replayed"], "true");

    let other = json!({"event_id": house.event_id, "best": {"count": 2}});
    let reused = house.post(&ann, HOLDS, "k", &other).await;
    assert_eq!(
        (reused.status, reused.problem().0.as_str()),
        (422, "idempotency-key-reused")
    );
    let bob = house.post(&who("customer"), HOLDS, "k", &body).await;
    assert_eq!(bob.problem().0, "sold-out", "a key is its customer's own");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_key_sent_in_parallel_holds_once(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 9).await;
    let ann = who("customer");
    let body = json!({"event_id": house.event_id, "best": {"count": 1}});
    let answers = join_all((0..5).map(|_| house.post(&ann, HOLDS, "k", &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let held: i64 = sqlx::query_scalar("SELECT count(*) FROM seats WHERE hold_id IS NOT NULL")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_eq!(held, 1);
}

/// Seats that an account keeps in holds and orders.
async fn kept(house: &Fixture, who: &messages::account::Account) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM seats
        LEFT JOIN holds ON holds.id = seats.hold_id LEFT JOIN orders ON orders.id = seats.order_id
        WHERE $1 IN (holds.customer_id, orders.customer_id)",
    )
    .bind(who.id)
    .fetch_one(&house.pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn an_account_keeps_a_limited_number_of_seats_that_it_has_not_paid_for(pool: PgPool) {
    let house = Fixture::with_seats(pool, 12, 10).await;
    let ann = who("customer");
    let limit = usize::from(SEATS_PER_ACCOUNT);
    let refused = |answer: Answer| (answer.status, answer.problem());
    let too_much = |field: &str| {
        let kind = "seat-limit-reached".to_owned();
        (409, (kind, Some(field.to_owned())))
    };
    // In a hold, in an order whose payment is under way, in one whose card was declined.
    let hold = house.hold(&ann, 10).await;
    let pending = house.order(&ann, 10).await;
    let declined = house.order(&ann, 10).await;
    house.decline(declined.id).await;
    for _ in 3..limit / 10 {
        house.hold(&ann, 10).await;
    }
    assert_eq!(
        refused(house.try_hold(&ann, 1).await),
        too_much("best.count")
    );
    assert_eq!(
        refused(named(&house, &ann, &[1]).await),
        too_much("seats"),
        "before it is told that the seat is taken"
    );
    let seats: i64 = limit.try_into().unwrap();
    assert_eq!(kept(&house, &ann).await, seats);
    // It is the account's own limit, and the event's.
    assert_eq!(house.try_hold(&who("customer"), 10).await.status, 201);

    // A card that is given again frees nothing; what is paid, given back or over does.
    let path = format!("/api/booking/orders/{}/card", declined.id);
    let card = json!({"card": "4000000000000002"});
    assert_eq!(house.post(&ann, &path, "k", &card).await.status, 202);
    assert_eq!(
        refused(house.try_hold(&ann, 1).await),
        too_much("best.count")
    );
    house.pay(pending.id).await;
    house.hold(&ann, 10).await;
    assert_eq!(
        refused(house.try_hold(&ann, 1).await),
        too_much("best.count")
    );
    house.expire(hold.id).await;
    house.hold(&ann, 10).await;
    assert_eq!(
        refused(house.try_hold(&ann, 1).await),
        too_much("best.count")
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn holds_of_one_account_at_once_never_exceed_its_limit(pool: PgPool) {
    let house = Fixture::with_seats(pool, 20, 10).await;
    let (ann, limit) = (who("customer"), usize::from(SEATS_PER_ACCOUNT));
    let tries = (0..20).map(|_| async {
        loop {
            let answer = house.try_hold(&ann, 9).await;
            // The turn of another request is no answer yet: come again, as Retry-After says.
            if answer.status != 409 || answer.problem().0 != "seats-busy" {
                break answer;
            }
            assert_eq!(answer.headers["retry-after"], "1");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answers = join_all(tries).await;
    let (held, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(held.len(), limit / 9);
    assert!(
        refused
            .iter()
            .all(|answer| answer.problem().0 == "seat-limit-reached")
    );
    let seats: i64 = (limit / 9 * 9).try_into().unwrap();
    assert_eq!(kept(&house, &ann).await, seats);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_request_that_breaks_a_rule_changes_nothing(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 9).await;
    let ann = who("customer");
    for (body, field) in [
        (
            json!({"event_id": house.event_id, "best": {"count": 11}}),
            "best.count",
        ),
        (
            json!({"event_id": house.event_id, "best": {"count": 1}, "x": 1}),
            "x",
        ),
        (json!({"best": {"count": 1}}), "event_id"),
        (json!({"event_id": "x", "best": {"count": 1}}), "event_id"),
        (
            json!({"event_id": house.event_id, "best": {"count": "1"}}),
            "best.count",
        ),
    ] {
        let answer = house.post(&ann, HOLDS, "k", &body).await;
        assert_eq!(
            (answer.status, answer.problem().1.as_deref()),
            (422, Some(field)),
            "{body}"
        );
    }
    let kept: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM holds) + (SELECT count(*) FROM idempotency_keys)",
    )
    .fetch_one(&house.pool)
    .await
    .unwrap();
    assert_eq!(kept, 0);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn who_waits_for_a_request_with_the_same_key_is_told_busy_in_time(pool: PgPool) {
    let hall = Fixture::with_seats(pool.clone(), 1, 3).await;
    let options = pool.connect_options().as_ref().clone();
    let limited = PgPoolOptions::new().connect_lazy_with(options.options(TIMEOUTS.options()));
    // Connected to before the time counts.
    drop(limited.acquire().await.unwrap());
    let mut house = Fixture::empty(limited);
    house.event_id = hall.event_id;
    let (ann, key) = (who("customer"), Uuid::now_v7().to_string());
    let mut first = pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash)
        VALUES ($1, 'place_hold', $2, '')",
    )
    .bind(ann.id)
    .bind(&key)
    .execute(&mut *first)
    .await
    .unwrap();
    let body = json!({"event_id": house.event_id, "best": {"count": 1}});
    let began = Instant::now();
    let answer = house.post(&ann, HOLDS, &key, &body).await;
    assert!(began.elapsed() < WRITE_TIMEOUT, "{:?}", began.elapsed());
    assert_eq!((answer.status, answer.problem().0.as_str()), (409, "busy"));
    assert!(answer.headers.contains_key("retry-after"));
}
