use messages::outbox::Kind;
use sqlx::PgPool;
use worker::fence;
use worker::payments::Settled;

use crate::world::{DECLINED, FINE, PRICE, World};

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
