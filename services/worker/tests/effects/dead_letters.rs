use outbox::dead::{self, Letter};
use sqlx::PgPool;
use worker::fence;
use worker::payments::Settled;
use worker::tasks::dead_letters::DeadLetters;

use crate::world::{FINE, World};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_dead_row_blocks_its_order_until_it_is_redriven(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.order(FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let dead_letters = DeadLetters::new(pool.clone(), vec![]);
    sqlx::query("UPDATE outbox SET sends = 1")
        .execute(&pool)
        .await
        .unwrap();
    let letter = [(order.charge.row_id, 1)];
    assert_eq!(
        dead_letters.mark(token, &letter).await.unwrap(),
        [Letter::Kills]
    );
    assert_eq!(
        dead_letters.mark(token, &letter).await.unwrap(),
        [Letter::Known]
    );

    let payments = world.payments();
    assert_eq!(
        payments.settle(&order.charge).await.unwrap(),
        Settled::Stale
    );
    let refund = world.request_cancel(order.id).await;
    assert_eq!(payments.settle(&refund).await.unwrap(), Settled::Stale);

    assert_eq!(dead::redrive(&pool, order.charge.row_id).await.unwrap(), 1);
    assert_eq!(
        dead_letters.mark(token, &letter).await.unwrap(),
        [Letter::History]
    );
    assert_eq!(payments.settle(&order.charge).await.unwrap(), Settled::Done);
    assert_eq!(
        dead_letters.mark(token, &letter).await.unwrap(),
        [Letter::History]
    );
    assert_eq!(world.state(order.id).await, "cancelling");
    world.assert_agreement().await;
}
