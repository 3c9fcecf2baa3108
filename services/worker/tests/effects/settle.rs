use messages::bank::{ChargeRequest, MOST_MINOR};
use messages::outbox::Kind;
use sqlx::PgPool;
use uuid::Uuid;
use worker::payments::Settled;
use worker::tasks::{Failure, settle};
use worker::{bank, fence, ledger};

use crate::world::{DECLINED, FINE, PRICE, World, metric};

async fn settlements(world: &World) -> Vec<(i64, i64, String)> {
    sqlx::query_as("SELECT period, amount_minor, state FROM settlements ORDER BY period")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn pay_all(world: &World, token: i64) {
    let settle = world.settle();
    for due in settle.due().await.unwrap() {
        settle.pay_out(&due, token).await.unwrap();
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_event_is_settled_once_a_period_and_what_comes_later_goes_into_the_next(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let settle = world.settle();
    assert_eq!(settle.record(token, 1).await.unwrap(), 0, "nothing is owed");
    world.paid_order().await;
    assert_eq!(settle.record(token, 1).await.unwrap(), 1);
    world.paid_order().await;
    assert_eq!(settle.record(token, 1).await.unwrap(), 0, "once a period");
    assert_eq!(
        settle.record(token, 2).await.unwrap(),
        1,
        "less what is due already"
    );
    pay_all(&world, token).await;
    let paid = |period| (period, PRICE, "paid".to_owned());
    assert_eq!(settlements(&world).await, [paid(1), paid(2)]);
    assert_eq!(world.ledger().await, 0);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_refund_after_the_payout_is_taken_off_the_next_one(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let settle = world.settle();
    let first = world.paid_order().await;
    settle.record(token, 1).await.unwrap();
    pay_all(&world, token).await;
    sqlx::query("UPDATE orders SET state = 'cancelling' WHERE id = $1")
        .bind(first)
        .execute(&world.pool)
        .await
        .unwrap();
    let refund = world.append(first, Kind::Refund).await;
    assert_eq!(
        world.payments().settle(&refund).await.unwrap(),
        Settled::Done
    );
    world.paid_order().await;
    assert_eq!(
        settle.record(token, 2).await.unwrap(),
        0,
        "paid with what was paid too much"
    );
    world.paid_order().await;
    assert_eq!(settle.record(token, 3).await.unwrap(), 1);
    pay_all(&world, token).await;
    assert_eq!(settlements(&world).await.last().unwrap().1, PRICE);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_refused_payout_leaves_the_money_owed_and_is_not_tried_each_period(pool: PgPool) {
    let world = World::new(pool, DECLINED).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let settle = world.settle();
    world.paid_order().await;
    settle.record(token, 1).await.unwrap();
    pay_all(&world, token).await;
    assert_eq!(
        settlements(&world).await,
        [(1, PRICE, "refused".to_owned())]
    );
    assert_eq!(settle.record(token, 2).await.unwrap(), 0);
    assert_eq!(world.ledger().await, PRICE);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn more_than_the_bank_moves_at_once_is_paid_over_several_periods(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let amount_minor = MOST_MINOR * 6 / 10;
    for _ in 0..2 {
        let order = Uuid::now_v7();
        let request = ChargeRequest {
            card: FINE.to_owned(),
            amount_minor,
            currency: "EUR".to_owned(),
            reference: order,
        };
        let key = order.to_string();
        world.bank.charge(&key, &request).await.unwrap();
        let mut tx = world.pool.begin().await.unwrap();
        let posting = ledger::Posting {
            kind: ledger::Kind::Charge,
            event: world.event,
            order: Some(order),
            settlement: None,
            cause: &key,
            fence_token: None,
            amount_minor,
            currency: "EUR",
        };
        ledger::record(&mut tx, posting).await.unwrap();
        tx.commit().await.unwrap();
    }
    for period in [1, 2] {
        assert_eq!(world.settle().record(token, period).await.unwrap(), 1);
        pay_all(&world, token).await;
    }
    assert_eq!(world.settle().record(token, 3).await.unwrap(), 0);
    let paid = |period, amount| (period, amount, "paid".to_owned());
    assert_eq!(
        settlements(&world).await,
        [paid(1, MOST_MINOR), paid(2, 2 * amount_minor - MOST_MINOR)]
    );
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn what_the_bank_does_not_take_is_refused_and_not_asked_for_ever(pool: PgPool) {
    let refusals = || metric("settle_payouts_total{outcome=\"refused\"}");
    let world = World::new(pool, "no account").await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    world.paid_order().await;
    let settle = world.settle();
    settle.record(token, 1).await.unwrap();
    let before = refusals();
    pay_all(&world, token).await;
    assert!(refusals() > before);
    assert!(settle.due().await.unwrap().is_empty());
    assert_eq!(
        settlements(&world).await,
        [(1, PRICE, "refused".to_owned())]
    );
    assert_eq!(settle.record(token, 2).await.unwrap(), 0, "not at once");
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn after_refusals_in_a_row_an_event_waits_for_the_next_day(pool: PgPool) {
    async fn later(world: &World, minutes: i32) {
        sqlx::query("UPDATE settlements SET tried_at = tried_at - make_interval(mins => $1)")
            .bind(minutes)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let world = World::new(pool, DECLINED).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let settle = world.settle();
    world.paid_order().await;
    for period in 1..=3 {
        assert_eq!(settle::stopped(&world.office).await.unwrap(), 0);
        assert_eq!(settle.record(token, period).await.unwrap(), 1);
        pay_all(&world, token).await;
        later(&world, 61).await;
    }
    assert_eq!(settle::stopped(&world.office).await.unwrap(), 1);
    assert_eq!(settle.record(token, 4).await.unwrap(), 0);
    later(&world, 24 * 60).await;
    assert_eq!(settle::stopped(&world.office).await.unwrap(), 0);

    // The next day it is another account: what was refused before counts no more.
    sqlx::query("UPDATE events SET payout_account = $1")
        .bind(FINE)
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(settle.record(token, 5).await.unwrap(), 1);
    pay_all(&world, token).await;
    let states: Vec<_> = settlements(&world)
        .await
        .into_iter()
        .map(|(_, _, state)| state)
        .collect();
    assert_eq!(states, ["refused", "refused", "refused", "paid"]);
    let refused: i64 = sqlx::query_scalar("SELECT count(*) FROM settlement_refusals")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(refused, 0);
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_payout_that_fails_stays_due_and_lets_others_go_first(pool: PgPool) {
    let world = World::new(pool, FINE).await;
    let token = fence::mint(&world.pool, "a").await.unwrap();
    let settle = world.settle();
    for period in [1, 2] {
        world.paid_order().await;
        settle.record(token, period).await.unwrap();
    }
    let away = world.settle_at("http://127.0.0.1:1", "a key of the bank");
    let unknown = world.settle_at(&world.url, "a key of somebody else");
    // That we are unknown to the bank says nothing of the payout.
    for asking in [away, unknown] {
        let due = settle.due().await.unwrap();
        let failed = asking.pay_out(&due[0], token).await;
        assert!(
            matches!(
                failed,
                Err(Failure::Bank(
                    bank::Failure::Away(_) | bank::Failure::Refused(..)
                ))
            ),
            "{failed:?}"
        );
        let after = settle.due().await.unwrap();
        assert_eq!((after[0].id, after[1].id), (due[1].id, due[0].id));
    }
    pay_all(&world, token).await;
    assert_eq!(world.ledger().await, 0);
    world.assert_agreement().await;
}
