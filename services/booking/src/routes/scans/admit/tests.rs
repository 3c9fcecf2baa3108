//! The promises of the door, on a real database.

use messages::account::Account;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::Scanned;
use crate::fixture::{Answer, Fixture, who};
use crate::ticket_code::tests::sign;

async fn scan(house: &Fixture, who: &Account, key: &str, code: &str) -> Answer {
    house
        .post(who, "/api/booking/scans", key, &json!({"code": code}))
        .await
}

/// A paid order's only ticket: its customer, its order, its code.
async fn ticket(house: &Fixture) -> (Account, Uuid, String) {
    let ann = who("customer");
    let order = house.order(&ann, 1).await;
    let serial = house.pay(order.id).await[0];
    (ann, order.id, sign(serial, house.event_id))
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_ticket_admits_once_and_a_repeated_scan_gets_the_first_answer(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let (_, _, code) = ticket(&house).await;
    let first = scan(&house, &house.organiser, "k", &code).await;
    assert_eq!(first.expect::<Scanned>(200).seat.number, 1);
    let again = scan(&house, &house.organiser, "k", &code).await;
    assert_eq!((again.status, again.body), (200, first.body));
    let second = scan(&house, &house.organiser, "k2", &code).await;
    assert_eq!(second.problem().0, "ticket-already-admitted");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_cancelled_ticket_admits_nobody(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let (ann, order, code) = ticket(&house).await;
    assert_eq!(house.cancel(&ann, order).await.status, 202);
    let answer = scan(&house, &house.organiser, "k", &code).await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (409, "ticket-cancelled")
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn only_the_organiser_of_the_event_scans(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let (ann, _, code) = ticket(&house).await;
    assert_eq!(scan(&house, &ann, "k", &code).await.status, 403);
    assert_eq!(
        scan(&house, &who("organiser"), "k", &code).await.status,
        404
    );
    let unknown = sign(Uuid::now_v7(), house.event_id);
    assert_eq!(
        scan(&house, &house.organiser, "k", &unknown).await.status,
        404
    );
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn a_forged_code_is_refused_without_asking_the_database(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let (_, _, code) = ticket(&house).await;
    house.pool.close().await;
    let mut other = code.clone().into_bytes();
    other[5] = if other[5] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).unwrap();
    for forged in [
        "",
        "x",
        &other,
        &"A".repeat(128),
        &"é".repeat(64),
        &format!("{code}A"),
    ] {
        let answer = scan(&house, &house.organiser, "k", forged).await;
        assert_eq!(answer.status, 422, "{forged}");
        assert_eq!(
            answer.problem(),
            ("ticket-forged".to_owned(), Some("code".to_owned()))
        );
    }
    assert_eq!(scan(&house, &house.organiser, "k", &code).await.status, 503);
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn of_a_scan_and_a_cancellation_exactly_one_wins(pool: PgPool) {
    let house = Fixture::with_seats(pool, 4, 10).await;
    let mut admitted = 0;
    for round in 0..40 {
        let (ann, order, code) = ticket(&house).await;
        let key = format!("k{round}");
        let (scanned, cancelled) = tokio::join!(
            scan(&house, &house.organiser, &key, &code),
            house.cancel(&ann, order)
        );
        match (scanned.status, cancelled.status) {
            (200, 409) => {
                admitted += 1;
                assert_eq!(cancelled.problem().0, "ticket-admitted");
            }
            (409, 202) => assert_eq!(scanned.problem().0, "ticket-cancelled"),
            both => panic!("round {round}: {both:?}"),
        }
    }
    println!("the scan won {admitted} of 40");
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn of_scans_in_parallel_exactly_one_admits(pool: PgPool) {
    let house = Fixture::with_seats(pool, 1, 1).await;
    let (_, _, code) = ticket(&house).await;
    let scans = (0..5).map(|door| {
        let (house, code, key) = (&house, &code, format!("door-{door}"));
        async move { scan(house, &house.organiser, &key, code).await.status }
    });
    let mut statuses = futures_util::future::join_all(scans).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409]);
}
