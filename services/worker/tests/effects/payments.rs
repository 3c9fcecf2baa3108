use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messages::bank::{ChargeRequest, Movement};
use messages::outbox::{Destination, Kind, Pointer};
use queue::Outcome;
use sqlx::PgPool;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::bank::Bank;
use worker::payments::{Failure, MOST_CARDS, Payments, Settled};

use crate::world::{ANSWER_LOST_ONCE, DECLINED, FAILS_ONCE, FINE, PRICE, World};

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn two_deliveries_of_a_charge_have_one_effect(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(FINE).await;
    let payments = world.payments();
    let (one, two) = tokio::join!(
        payments.settle(&order.charge),
        payments.settle(&order.charge)
    );
    let mut settled = [one.unwrap(), two.unwrap()];
    settled.sort_by_key(|settled| *settled == Settled::Stale);
    assert_eq!(settled, [Settled::Done, Settled::Stale]);
    assert_eq!(
        payments.settle(&order.charge).await.unwrap(),
        Settled::Stale
    );

    assert_eq!(world.state(order.id).await, "paid");
    assert_eq!(world.ledger().await, PRICE);
    assert_eq!(world.books().await.charged_minor, PRICE);
    let tickets = "SELECT count(*) FROM tickets WHERE order_id = $1";
    assert_eq!(world.one::<i64>(tickets, order.id).await, 1);
    let next = world.last(Destination::Tickets, order.id).await.unwrap();
    assert_eq!((next.kind, next.sequence), (Kind::RenderTickets, 1));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_refund_that_comes_before_its_charge_is_dropped(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(FINE).await;
    let refund = world.request_cancel(order.id).await;
    let payments = world.payments();
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Stale);
    assert_eq!(world.state(order.id).await, "pending");

    assert_eq!(payments.settle(&order.charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "cancelling");
    assert_eq!(
        world.seats_of(order.id).await,
        1,
        "not free before the refund"
    );
    assert!(world.last(Destination::Tickets, order.id).await.is_none());

    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "cancelled");
    assert_eq!(world.seats_of(order.id).await, 0);
    assert_eq!(world.ledger().await, 0);
    assert_eq!(world.books().await.refunded_minor, PRICE);
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Stale);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_declined_order_waits_for_a_card_and_the_next_attempt_has_a_key_of_its_own(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(DECLINED).await;
    let payments = world.payments();
    assert_eq!(payments.settle(&order.charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "declined");
    let due = "SELECT payment_due_at > now() FROM orders WHERE id = $1";
    assert!(world.one::<bool>(due, order.id).await);
    assert_eq!(
        (world.seats_of(order.id).await, world.ledger().await),
        (1, 0)
    );

    sqlx::query("UPDATE orders SET state = 'pending', attempt = 2, card = $2 WHERE id = $1")
        .bind(order.id)
        .bind(FINE)
        .execute(&world.pool)
        .await
        .unwrap();
    let again = world.append(order.id, Kind::Charge).await;
    assert_eq!(
        payments.settle(&order.charge).await.unwrap(),
        Settled::Stale
    );
    assert_eq!(payments.settle(&again).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "paid");
    world.assert_agreement().await;
}

/// What `booking` does when another card is given for a declined order.
async fn give_card(world: &World, order: Uuid, card: &str) -> Pointer {
    sqlx::query(
        "UPDATE orders SET state = 'pending', attempt = attempt + 1, card = $2 WHERE id = $1",
    )
    .bind(order)
    .bind(card)
    .execute(&world.pool)
    .await
    .unwrap();
    world.append(order, Kind::Charge).await
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_order_has_one_deadline_and_a_limited_number_of_cards(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(DECLINED).await;
    let payments = world.payments();
    let mut charge = order.charge;
    let mut deadlines = Vec::new();
    for _ in 1..MOST_CARDS {
        assert_eq!(payments.settle(&charge).await.unwrap(), Settled::Done);
        assert_eq!(world.state(order.id).await, "declined");
        let due = "SELECT payment_due_at FROM orders WHERE id = $1";
        deadlines.push(world.one::<DateTime<Utc>>(due, order.id).await);
        charge = give_card(&world, order.id, DECLINED).await;
    }
    assert!(deadlines.iter().all(|due| *due == deadlines[0]));

    assert_eq!(payments.settle(&charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "expired");
    assert_eq!(world.seats_of(order.id).await, 0);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn the_last_card_may_still_pay(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(DECLINED).await;
    let payments = world.payments();
    let mut charge = order.charge;
    for attempt in 2..=MOST_CARDS {
        assert_eq!(payments.settle(&charge).await.unwrap(), Settled::Done);
        let card = if attempt < MOST_CARDS { DECLINED } else { FINE };
        charge = give_card(&world, order.id, card).await;
    }
    assert_eq!(payments.settle(&charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "paid");
    let due = "SELECT payment_due_at IS NULL FROM orders WHERE id = $1";
    assert!(world.one::<bool>(due, order.id).await);
    world.assert_agreement().await;
}

/// The event begins now.
async fn begin(world: &World) {
    sqlx::query("UPDATE events SET starts_at = clock_timestamp()")
        .execute(&world.pool)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn no_charge_is_requested_once_the_event_has_begun(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let before = world.paid_order().await;
    let (order, cancelled) = (world.order(FINE).await, world.order(FINE).await);
    let refund = world.request_cancel(cancelled.id).await;
    begin(&world).await;
    let payments = world.payments();
    for charge in [&order.charge, &cancelled.charge] {
        assert_eq!(payments.settle(charge).await.unwrap(), Settled::Done);
        assert_eq!(payments.settle(charge).await.unwrap(), Settled::Stale);
    }
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Done);
    assert_eq!(world.state(before).await, "paid", "settled before the line");
    assert_eq!(world.state(order.id).await, "expired");
    assert_eq!(world.state(cancelled.id).await, "cancelled");
    for order in [order.id, cancelled.id] {
        assert_eq!(world.seats_of(order).await, 0);
    }
    assert_eq!(world.books().await.charged_minor, PRICE);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn what_was_charged_across_the_start_of_the_event_is_refunded(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(ANSWER_LOST_ONCE).await;
    let payments = world.payments();
    // The bank takes the money before the event begins, and its answer is lost.
    assert!(payments.settle(&order.charge).await.is_err());
    assert_eq!(world.books().await.charged_minor, PRICE);
    begin(&world).await;

    assert_eq!(payments.settle(&order.charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "cancelling");
    let tickets = "SELECT count(*) FROM tickets WHERE order_id = $1";
    assert_eq!(world.one::<i64>(tickets, order.id).await, 0);
    world.assert_agreement().await;

    let refund = world.last(Destination::Payments, order.id).await.unwrap();
    assert_eq!((refund.kind, refund.sequence), (Kind::Refund, 2));
    // With this card the answer to a refund is lost once, too.
    assert!(payments.settle(&refund).await.is_err());
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "cancelled");
    assert_eq!(world.seats_of(order.id).await, 0);
    let books = world.books().await;
    assert_eq!((books.charged_minor, books.refunded_minor), (PRICE, PRICE));
    world.assert_agreement().await;
}

/// The request with which any version of a worker charges the first card of an order.
async fn charged_by_another_worker(world: &World, order: Uuid, card: &str) -> Movement {
    let request = ChargeRequest {
        card: card.to_owned(),
        amount_minor: PRICE,
        currency: "EUR".to_owned(),
        reference: order,
    };
    let key = format!("charge-{order}-1");
    world.bank.charge(&key, &request).await.unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn what_a_worker_of_an_older_version_charged_before_the_start_is_refunded(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let (charged, declined) = (world.order(FINE).await, world.order(DECLINED).await);
    charged_by_another_worker(&world, charged.id, FINE).await;
    charged_by_another_worker(&world, declined.id, DECLINED).await;
    begin(&world).await;
    let payments = world.payments();
    for charge in [&charged.charge, &declined.charge] {
        assert_eq!(payments.settle(charge).await.unwrap(), Settled::Done);
    }
    assert_eq!(world.state(declined.id).await, "expired");
    assert_eq!(world.seats_of(declined.id).await, 0);
    assert_eq!(world.state(charged.id).await, "cancelling");
    let refund = world.last(Destination::Payments, charged.id).await;
    let refunded = payments.settle(&refund.unwrap()).await.unwrap();
    assert_eq!(refunded, Settled::Done);
    assert_eq!(world.state(charged.id).await, "cancelled");
    assert_eq!(world.books().await.refunded_minor, PRICE);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_request_that_reaches_the_bank_after_its_order_ended_moves_no_money(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(FINE).await;
    begin(&world).await;
    let settled = world.payments().settle(&order.charge).await.unwrap();
    assert_eq!(settled, Settled::Done);
    assert_eq!(world.state(order.id).await, "expired");
    let late = charged_by_another_worker(&world, order.id, FINE).await;
    assert_eq!(late.outcome, messages::bank::Outcome::Declined);
    assert_eq!(world.books().await.charged_minor, 0);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_cancelled_order_whose_card_is_declined_frees_its_seats_and_refunds_nothing(
    pool: PgPool,
) {
    let world = World::new(pool, FINE).await;
    let order = world.order(DECLINED).await;
    let refund = world.request_cancel(order.id).await;
    let payments = world.payments();
    assert_eq!(payments.settle(&order.charge).await.unwrap(), Settled::Done);
    assert_eq!(world.state(order.id).await, "cancelled");
    assert_eq!(world.seats_of(order.id).await, 0);
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Done);
    assert_eq!(
        (world.state(order.id).await.as_str(), world.ledger().await),
        ("cancelled", 0)
    );
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_paid_order_that_is_cancelled_gives_its_money_and_seats_back(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.paid_order().await;
    sqlx::query("UPDATE orders SET state = 'cancelling' WHERE id = $1")
        .bind(order)
        .execute(&world.pool)
        .await
        .unwrap();
    let refund = world.append(order, Kind::Refund).await;
    assert_eq!(
        world.payments().settle(&refund).await.unwrap(),
        Settled::Done
    );
    let tickets = "SELECT count(*) FROM tickets WHERE order_id = $1 AND state = 'cancelled'";
    assert_eq!(world.one::<i64>(tickets, order).await, 1);
    assert_eq!((world.seats_of(order).await, world.ledger().await), (0, 0));
    // The seat can be sold again.
    let next = world.order(FINE).await;
    assert_eq!(
        world.payments().settle(&next.charge).await.unwrap(),
        Settled::Done
    );
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_charge_that_fails_once_is_repeated_at_once(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(FAILS_ONCE).await;
    assert_eq!(
        world.payments().settle(&order.charge).await.unwrap(),
        Settled::Done
    );
    assert_eq!(world.state(order.id).await, "paid");
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_lost_answer_is_asked_for_again_with_the_same_key(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(ANSWER_LOST_ONCE).await;
    let first = world.payments().settle(&order.charge).await;
    assert!(
        matches!(first, Err(Failure::Bank(worker::bank::Failure::Unknown(_)))),
        "{first:?}"
    );
    assert_eq!(world.state(order.id).await, "pending");
    assert_eq!(
        world.payments().settle(&order.charge).await.unwrap(),
        Settled::Done
    );
    assert_eq!(world.books().await.charged_minor, PRICE);
    world.assert_agreement().await;
}

/// A way to the bank that carries nothing while it is frozen, as when the bank is paused: it takes
/// what is said to it, and acts on it when it is woken.
async fn way(to: &str, frozen: watch::Receiver<bool>) -> String {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (to, mut frozen) = (to.clone(), frozen.clone());
            tokio::spawn(async move {
                frozen.wait_for(|frozen| !frozen).await.unwrap();
                let mut far = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    url
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_payment_stays_in_hand_while_the_bank_is_paused_and_is_made_once(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let order = world.order(FINE).await;
    let (freeze, frozen) = watch::channel(true);
    let url = way(&world.url, frozen).await;
    let stop = CancellationToken::new();
    let payments = |stop: CancellationToken| {
        let bank = Bank::new(&url, "a key of the bank", stop.clone()).unwrap();
        let card_within = Duration::from_secs(120);
        Payments::new(world.office.clone(), Arc::new(bank), card_within, stop)
    };
    let (waits, stops) = (payments(CancellationToken::new()), payments(stop.clone()));
    let (charge, same) = (order.charge.clone(), order.charge.clone());
    let waits = tokio::spawn(async move { waits.consume(&charge).await });
    let stops = tokio::spawn(async move { stops.consume(&same).await });
    // Longer than one call may take.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(!waits.is_finished() && !stops.is_finished());
    assert_eq!(world.state(order.id).await, "pending");
    stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(20), stops).await;
    assert_eq!(stopped.unwrap().unwrap(), Outcome::Retry);

    freeze.send_replace(false);
    let paid = tokio::time::timeout(Duration::from_secs(60), waits).await;
    assert_eq!(paid.unwrap().unwrap(), Outcome::Done);
    assert_eq!(world.state(order.id).await, "paid");
    assert_eq!(world.books().await.charged_minor, PRICE);
    world.assert_agreement().await;
}
