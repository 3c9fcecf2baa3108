use std::time::Duration;

use messages::bank::{Movement, Outcome};
use sqlx::PgPool;
use uuid::Uuid;
use worker::fence;
use worker::tasks::Failure;
use worker::tasks::dead_letters::DeadLetters;
use worker::tasks::prune::Prune;
use worker::tasks::sweep::Sweep;

use crate::world::{FINE, PRICE, World};

async fn changes(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM leader_tasks) + (SELECT count(*) FROM settlements)
            + (SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL)
            + (SELECT count(*) FROM holds WHERE state = 'expired')",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn tokens_only_grow_and_every_term_is_kept(pool: PgPool) {
    for expected in 1..=5 {
        assert_eq!(fence::mint(&pool, "a").await.unwrap(), expected);
    }
    let terms: i64 = sqlx::query_scalar("SELECT count(*) FROM leader_terms WHERE holder = 'a'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(terms, 5);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_older_token_is_refused_and_changes_nothing(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let order = world.order(FINE).await;
    sqlx::query("UPDATE holds SET state = 'active', expires_at = now() - interval '1 s'")
        .execute(&pool)
        .await
        .unwrap();
    let old = fence::mint(&pool, "old").await.unwrap();
    let new = fence::mint(&pool, "new").await.unwrap();
    let before = changes(&pool).await;

    let sweep = Sweep::new(pool.clone(), Duration::from_secs(1));
    assert!(matches!(sweep.release(old).await, Err(Failure::Refused)));
    assert!(matches!(
        world.settle().record(old, 1).await,
        Err(Failure::Refused)
    ));
    let dead_letters = DeadLetters::new(pool.clone(), vec![]);
    let letters = [(order.charge.row_id, 1)];
    assert!(matches!(
        dead_letters.mark(old, &letters).await,
        Err(Failure::Refused)
    ));
    assert!(matches!(
        Prune::new(pool.clone()).rows(old).await,
        Err(Failure::Refused)
    ));
    assert_eq!(changes(&pool).await, before);

    assert!(sweep.release(new).await.is_ok());
    assert!(world.settle().record(new, 1).await.is_ok());
    assert!(changes(&pool).await > before);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_leader_that_wakes_up_late_is_refused_and_its_payout_is_made_once(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let settle = world.settle();
    let old = fence::mint(&pool, "old").await.unwrap();
    assert_eq!(settle.record(old, 1).await.unwrap(), 1);
    let due = settle.due().await.unwrap().remove(0);

    // The old leader asks the bank, and is paused before it can write down what the bank said.
    let request = messages::bank::PayoutRequest {
        account: due.account.clone(),
        amount_minor: due.amount_minor,
        currency: due.currency.clone(),
        reference: due.id,
    };
    let movement = world
        .bank
        .pay_out(&due.id.to_string(), &request)
        .await
        .unwrap();
    let new = fence::mint(&pool, "new").await.unwrap();
    let late = settle.record_payout(&due, &movement, old).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert_eq!(settle.due().await.unwrap().len(), 1);
    assert_eq!(world.ledger().await, PRICE);

    settle.pay_out(&due, new).await.unwrap();
    assert!(settle.due().await.unwrap().is_empty());
    assert_eq!(
        (world.ledger().await, world.books().await.paid_out_minor),
        (0, PRICE)
    );
    // Woken once more, it still changes nothing.
    assert!(matches!(
        settle.record_payout(&due, &movement, old).await,
        Err(Failure::Refused)
    ));
    world.assert_agreement().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_repeated_answer_of_the_bank_is_recorded_once(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    world.paid_order().await;
    let settle = world.settle();
    let token = fence::mint(&pool, "a").await.unwrap();
    settle.record(token, 1).await.unwrap();
    let due = settle.due().await.unwrap().remove(0);
    let movement = Movement {
        id: Uuid::now_v7(),
        kind: messages::bank::Kind::Payout,
        key: due.id.to_string(),
        outcome: Outcome::Succeeded,
        amount_minor: due.amount_minor,
        currency: due.currency.clone(),
        reference: due.id,
        created_at: chrono::Utc::now(),
    };
    for _ in 0..3 {
        settle.record_payout(&due, &movement, token).await.unwrap();
    }
    assert_eq!(world.ledger().await, 0);
}
