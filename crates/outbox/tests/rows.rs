//! The outbox on a real Postgres, with the migrations of the service that owns the table.
#![allow(clippy::unwrap_used)] // a test's helpers may panic, too

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use outbox::dead::{self, Letter};
use outbox::group::Stale;
use outbox::relay::{self, Marked, Pace};
use outbox::{Destination, Kind, append, backlog, delivery};
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use uuid::Uuid;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../services/booking/migrations");

const TO: Destination = Destination::Payments;
const NONE: [Uuid; 0] = [];

async fn write(pool: &PgPool, group: Uuid, kind: Kind) -> Uuid {
    let mut tx = pool.begin().await.unwrap();
    let id = append(&mut tx, TO, group, kind, Some("00-trace"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

fn pace(queue_created_at: DateTime<Utc>) -> Pace {
    Pace {
        resend: Duration::from_secs(10),
        queue_created_at,
        former_since: None,
    }
}

/// So many seconds before something is due it is looked that it is not: more than a busy machine takes
/// from one step of a test to the next.
const AHEAD: i32 = 8;

/// The queue has been there for long.
fn old_queue() -> Pace {
    pace(Utc::now() - TimeDelta::days(1))
}

async fn mark_with(pool: &PgPool, token: i64, pace: Pace) -> Vec<Marked> {
    let mut tx = pool.begin().await.unwrap();
    let marked = relay::mark(&mut tx, TO, token, pace).await.unwrap();
    tx.commit().await.unwrap();
    marked
}

async fn mark(pool: &PgPool) -> Vec<Uuid> {
    mark_with(pool, 1, old_queue())
        .await
        .iter()
        .map(|row| row.pointer.row_id)
        .collect()
}

async fn deliver(pool: &PgPool, id: Uuid) -> Result<(), Stale> {
    let mut tx = pool.begin().await.unwrap();
    let row = delivery::lock(&mut tx, id).await.unwrap()?;
    delivery::deliver(&mut tx, &row).await.unwrap().observe();
    tx.commit().await.unwrap();
    Ok(())
}

async fn age(pool: &PgPool, seconds: i32) {
    sqlx::query("UPDATE outbox SET sent_at = sent_at - make_interval(secs => $1)")
        .bind(f64::from(seconds))
        .execute(pool)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn numbers_have_no_gaps_whatever_is_rolled_back(pool: PgPool) {
    let group = Uuid::now_v7();
    for commit in [true, false, true, false, false, true] {
        let mut tx = pool.begin().await.unwrap();
        append(&mut tx, TO, group, Kind::Charge, None)
            .await
            .unwrap();
        if commit {
            tx.commit().await.unwrap();
        }
    }
    let numbers: Vec<i64> = sqlx::query_scalar("SELECT sequence FROM outbox ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(numbers, [1, 2, 3]);
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn one_row_of_a_group_is_in_flight_and_the_next_follows_its_delivery(pool: PgPool) {
    let (group, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = write(&pool, group, Kind::Charge).await;
    let second = write(&pool, group, Kind::Refund).await;
    let third = write(&pool, other, Kind::Charge).await;
    assert_eq!(mark(&pool).await, [first, third]);
    assert_eq!(mark(&pool).await, NONE);
    assert_eq!(deliver(&pool, second).await, Err(Stale::NotLowest));
    assert_eq!(deliver(&pool, first).await, Ok(()));
    assert_eq!(deliver(&pool, first).await, Err(Stale::Delivered));
    assert_eq!(mark(&pool).await, [second]);
    assert_eq!(deliver(&pool, second).await, Ok(()));
    assert_eq!(deliver(&pool, Uuid::now_v7()).await, Err(Stale::Gone));
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_message_says_what_stands_in_its_row(pool: PgPool) {
    let group = Uuid::now_v7();
    let id = write(&pool, group, Kind::Charge).await;
    let marked = mark_with(&pool, 7, old_queue()).await.remove(0);
    assert_eq!(marked.deduplication_id, format!("{id}-1"));
    let pointer = marked.pointer;
    assert_eq!((pointer.row_id, pointer.group_id), (id, group));
    assert_eq!(
        (pointer.sequence, pointer.kind, pointer.send),
        (1, Kind::Charge, 1)
    );
    assert_eq!(pointer.traceparent.as_deref(), Some("00-trace"));
    let token: i64 = sqlx::query_scalar("SELECT fence_token FROM outbox")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(token, 7);
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_undelivered_row_is_sent_again_ever_more_rarely(pool: PgPool) {
    let id = write(&pool, Uuid::now_v7(), Kind::Charge).await;
    for back_off in [10, 20, 40, 60, 60] {
        assert_eq!(mark(&pool).await, [id]);
        age(&pool, back_off - AHEAD).await;
        assert_eq!(mark(&pool).await, NONE);
        age(&pool, AHEAD + 1).await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn what_was_sent_to_a_queue_that_is_lost_is_due_at_once(pool: PgPool) {
    let id = write(&pool, Uuid::now_v7(), Kind::Charge).await;
    assert_eq!(mark(&pool).await, [id]);
    let made_anew = pace(Utc::now() + TimeDelta::milliseconds(20));
    assert_eq!(mark_with(&pool, 1, made_anew).await[0].pointer.send, 2);
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_new_leader_soon_sends_again_what_a_former_one_may_not_have_sent(pool: PgPool) {
    let long_ago = write(&pool, Uuid::now_v7(), Kind::Charge).await;
    assert_eq!(mark(&pool).await, [long_ago]);
    age(&pool, 3).await;
    let id = write(&pool, Uuid::now_v7(), Kind::Charge).await;
    assert_eq!(mark(&pool).await, [id]);
    age(&pool, -AHEAD).await;
    assert_eq!(relay::former_since(&pool, TO, 1).await.unwrap(), None);
    let in_doubt = |former_since| Pace {
        former_since,
        ..old_queue()
    };
    let since = relay::former_since(&pool, TO, 2).await.unwrap();
    assert!(mark_with(&pool, 2, in_doubt(since)).await.is_empty());
    age(&pool, AHEAD + 3).await;
    let since = since.map(|since| since - TimeDelta::seconds((AHEAD + 3).into()));
    assert_eq!(
        mark(&pool).await,
        NONE,
        "the same leader knows that it was sent"
    );
    let again = mark_with(&pool, 2, in_doubt(since)).await;
    assert_eq!(
        again
            .iter()
            .map(|row| row.pointer.row_id)
            .collect::<Vec<_>>(),
        [id]
    );
    age(&pool, 3).await;
    assert!(
        mark_with(&pool, 2, in_doubt(since)).await.is_empty(),
        "once a term"
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_row_whose_send_failed_is_due_unless_it_was_sent_again(pool: PgPool) {
    let id = write(&pool, Uuid::now_v7(), Kind::Charge).await;
    let failed = mark_with(&pool, 1, old_queue()).await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(
        relay::take_back(&mut connection, &[&failed[0]])
            .await
            .unwrap(),
        1
    );
    assert_eq!(mark(&pool).await, [id]);
    assert_eq!(
        relay::take_back(&mut connection, &[&failed[0]])
            .await
            .unwrap(),
        0
    );
    assert_eq!(mark(&pool).await, NONE);
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn two_relays_at_once_never_mark_the_same_row(pool: PgPool) {
    for _ in 0..40 {
        write(&pool, Uuid::now_v7(), Kind::Charge).await;
    }
    let (one, two) = tokio::join!(mark(&pool), mark(&pool));
    let mut all: Vec<Uuid> = one.into_iter().chain(two).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_dead_row_blocks_its_group_and_redrive_clears_all_of_it(pool: PgPool) {
    let (group, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = write(&pool, group, Kind::Charge).await;
    mark(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(
        dead::mark(&mut connection, first, 1).await.unwrap(),
        Letter::Kills
    );
    assert_eq!(
        dead::mark(&mut connection, first, 1).await.unwrap(),
        Letter::Known
    );
    assert!(!dead::any_follower(&pool, TO).await.unwrap());
    let second = write(&pool, group, Kind::Refund).await;
    let third = write(&pool, other, Kind::Charge).await;
    assert_eq!(mark(&pool).await, [third]);
    assert_eq!(deliver(&pool, first).await, Err(Stale::Dead));
    assert_eq!(deliver(&pool, second).await, Err(Stale::NotLowest));
    assert!(dead::any_follower(&pool, TO).await.unwrap());
    assert_eq!(dead::mark_followers(&mut connection, TO).await.unwrap(), 1);
    let rows = dead::list(&pool, Some(TO), None, 10).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        [first, second]
    );
    for (chosen, found) in [(second, 1), (group, 2), (third, 0)] {
        let rows = dead::list(&pool, Some(TO), Some(chosen), 10).await;
        assert_eq!(rows.unwrap().len(), found);
    }
    let counts = backlog::read(&pool, TO).await.unwrap();
    assert_eq!((counts.undelivered, counts.dead), (1, 2));

    assert_eq!(
        dead::redrive(&pool, second).await.unwrap(),
        2,
        "any row of the group will do"
    );
    assert!(dead::list(&pool, None, None, 10).await.unwrap().is_empty());
    assert_eq!(
        dead::mark(&mut connection, first, 1).await.unwrap(),
        Letter::History
    );
    assert_eq!(mark(&pool).await, [first]);
    assert_eq!(
        dead::mark(&mut connection, first, 2).await.unwrap(),
        Letter::Kills
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn delivered_rows_are_pruned_when_they_are_old(pool: PgPool) {
    let ids = [
        write(&pool, Uuid::now_v7(), Kind::Charge).await,
        Uuid::nil(),
    ];
    write(&pool, Uuid::now_v7(), Kind::Charge).await;
    deliver(&pool, ids[0]).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(
        outbox::prune(&mut connection, Duration::from_secs(60), 10)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        outbox::prune(&mut connection, Duration::ZERO, 10)
            .await
            .unwrap(),
        1
    );
    assert_eq!(backlog::read(&pool, TO).await.unwrap().undelivered, 1);
}

/// The pure rule's property, with the real functions: whatever is lost, repeated and shuffled,
/// each row takes effect once and in the order of its group.
#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn effects_come_once_and_in_order_whatever_the_queue_does(pool: PgPool) {
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let groups: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    let mut queue: Vec<Marked> = Vec::new();
    let mut effects: Vec<(Uuid, i64)> = Vec::new();
    for step in 0..600 {
        match random.random_range(0..10) {
            0 | 1 if step < 500 => {
                let group = groups[random.random_range(0..groups.len())];
                write(&pool, group, Kind::Charge).await;
            }
            2..=4 => queue.extend(mark_with(&pool, 1, old_queue()).await),
            5 => {
                // The queue is lost with all that is on it.
                queue.clear();
                sqlx::query("UPDATE outbox SET sent_at = NULL")
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            _ if !queue.is_empty() => {
                let which = random.random_range(0..queue.len());
                let message = queue[which].clone();
                if random.random_bool(0.7) {
                    queue.swap_remove(which);
                }
                if deliver(&pool, message.pointer.row_id).await.is_ok() {
                    effects.push((message.pointer.group_id, message.pointer.sequence));
                }
            }
            _ => {}
        }
    }
    for _ in 0..200 {
        age(&pool, 100).await;
        for message in mark_with(&pool, 1, old_queue()).await {
            if deliver(&pool, message.pointer.row_id).await.is_ok() {
                effects.push((message.pointer.group_id, message.pointer.sequence));
            }
        }
    }
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(effects.len(), usize::try_from(written).unwrap());
    for group in groups {
        let own = effects
            .iter()
            .filter(|(of, _)| *of == group)
            .map(|(_, sequence)| *sequence);
        assert!(own.clone().eq(1..=i64::try_from(own.count()).unwrap()));
    }
}
