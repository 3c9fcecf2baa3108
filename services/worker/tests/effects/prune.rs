use messages::outbox::Destination;
use sqlx::PgPool;
use worker::fence;
use worker::tasks::prune::Prune;

use crate::world::{FINE, PRICE, World};

async fn end_the_event(pool: &PgPool) {
    sqlx::query("UPDATE events SET starts_at = now() - interval '2 h'")
        .execute(pool)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_event_that_is_over_shrinks_to_its_balances_once_nothing_of_it_is_open(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let prune = Prune::new(pool.clone());
    let orders = [world.paid_order().await, world.paid_order().await];
    assert!(!prune.next_event(token).await.unwrap(), "it is not over");
    end_the_event(&pool).await;
    assert!(
        !prune.next_event(token).await.unwrap(),
        "money is owed and tickets are to be rendered"
    );

    let settle = world.settle();
    settle.record(token, 1).await.unwrap();
    let due = settle.due().await.unwrap().remove(0);
    settle.pay_out(&due, token).await.unwrap();
    for order in orders {
        assert!(world.last(Destination::Tickets, order).await.is_some());
    }
    sqlx::query("UPDATE outbox SET delivered_at = now()")
        .execute(&pool)
        .await
        .unwrap();

    assert!(prune.next_event(token).await.unwrap());
    assert!(!prune.next_event(token).await.unwrap());
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM seats)
            + (SELECT count(*) FROM orders) + (SELECT count(*) FROM holds)
            + (SELECT count(*) FROM tickets) + (SELECT count(*) FROM outbox)
            + (SELECT count(*) FROM outbox_groups) + (SELECT count(*) FROM settlements)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, 0);
    let sums: Vec<(String, i64)> = sqlx::query_as(
        "SELECT kind, sum(amount_minor)::bigint FROM ledger_transactions
        JOIN ledger_entries ON transaction_id = id WHERE account = 'bank'
        GROUP BY kind ORDER BY kind",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(
        sums,
        [
            ("charge".to_owned(), 2 * PRICE),
            ("payout".to_owned(), -2 * PRICE)
        ]
    );
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn old_rows_and_keys_go_and_young_ones_stay(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let old = world.paid_order().await;
    sqlx::query(
        "UPDATE outbox SET delivered_at = now() - interval '2 h' WHERE destination = 'payments'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let young = world.paid_order().await;
    sqlx::raw_sql(
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
        VALUES (gen_random_uuid(), 'x', 'old', '', now() - interval '25 h'),
            (gen_random_uuid(), 'x', 'young', '', now() - interval '23 h')",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(!Prune::new(pool.clone()).rows(token).await.unwrap());
    assert!(world.last(Destination::Payments, old).await.is_none());
    assert!(world.last(Destination::Payments, young).await.is_some());
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM idempotency_keys")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(keys, ["young"]);
}
