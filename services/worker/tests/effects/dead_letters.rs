use std::time::Duration;

use messages::outbox::{Destination, Pointer};
use outbox::dead::{self, Letter};
use queue::{Counts, Queue};
use sqlx::PgPool;
use uuid::Uuid;
use worker::dead_letters::peek;
use worker::dead_letters::strays::Strays;
use worker::fence;
use worker::payments::Settled;
use worker::tasks::dead_letters::DeadLetters;

use crate::queues::{Queues, put, put_all};
use crate::world::{FINE, World};

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
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

/// The leader marks what stands behind a dead row while that row is redriven.
#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn what_stands_behind_a_row_that_is_redriven_does_not_die(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.order(FINE).await;
    let dead = "UPDATE outbox SET sends = 1, dead_at = now()";
    sqlx::query(dead).execute(&pool).await.unwrap();
    let refund = world.request_cancel(order.id).await;

    let mut redrive = pool.begin().await.unwrap();
    let redriven = dead::redrive(&mut *redrive, order.charge.row_id).await;
    assert_eq!(redriven.unwrap(), 1);
    let marking = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut tx = pool.begin().await.unwrap();
            let marked = dead::mark_followers(&mut tx, Destination::Payments).await;
            tx.commit().await.unwrap();
            marked.unwrap()
        }
    });
    // Until it waits for the redrive.
    let waits = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON database = oid
        OR database IS NULL WHERE NOT granted AND datname = current_database())";
    while !marking.is_finished() {
        let waiting: bool = sqlx::query_scalar(waits).fetch_one(&pool).await.unwrap();
        if waiting {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    redrive.commit().await.unwrap();
    assert_eq!(marking.await.unwrap(), 0);
    let dead = "SELECT dead_at IS NOT NULL FROM outbox WHERE id = $1";
    assert!(!world.one::<bool>(dead, refund.row_id).await);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_queue_that_is_away_keeps_no_news_of_another_back(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.paid_order().await;
    let letter = world.last(Destination::Tickets, order).await.unwrap();
    let queues = Queues::standard().await;
    put(&queues.dead, &serde_json::to_string(&letter).unwrap()).await;
    // Nobody listens at port 9, the discard service's.
    let nobody = Queue::new(queue::client("http://127.0.0.1:9"), "nobody");
    let dead_letters = DeadLetters::new(
        world.office.clone(),
        vec![
            (Destination::Payments, nobody),
            (Destination::Tickets, queues.dead.clone()),
        ],
    );
    let token = fence::mint(&pool, "a").await.unwrap();
    assert!(dead_letters.look(token).await.is_err(), "and it is told");
    let dead = "SELECT dead_at IS NOT NULL FROM outbox WHERE id = $1";
    assert!(world.one::<bool>(dead, letter.row_id).await);
    assert_eq!(queues.dead.counts().await.unwrap().visible, 1);
}

/// A queue may remember each time that a letter was received for as long as the letter is there.
#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_letter_is_read_again_only_when_something_has_changed(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let mut letters = Vec::new();
    for _ in 0..3 {
        let order = world.paid_order().await;
        letters.extend(world.last(Destination::Tickets, order).await);
    }
    let [one, other, third] = letters.try_into().unwrap();
    sqlx::query("UPDATE outbox SET sends = 1")
        .execute(&pool)
        .await
        .unwrap();
    let queues = Queues::standard().await;
    let queue = (Destination::Tickets, queues.dead.clone());
    let dead_letters = DeadLetters::new(world.office.clone(), vec![queue]);
    let token = fence::mint(&pool, "a").await.unwrap();
    let look = async || {
        for _ in 0..5 {
            dead_letters.look(token).await.unwrap();
        }
    };
    let dead = "SELECT dead_at IS NOT NULL FROM outbox WHERE id = $1";
    put_all(&queues.dead, std::slice::from_ref(&one)).await;
    look().await;
    assert!(world.one::<bool>(dead, one.row_id).await);
    put_all(&queues.dead, std::slice::from_ref(&other)).await;
    look().await;
    assert!(world.one::<bool>(dead, other.row_id).await);
    // Twice by ten looks, and now.
    let received = peek::peek(&queues.dead, Duration::from_secs(1))
        .await
        .unwrap();
    let most = received
        .iter()
        .map(|letter| letter.message.receive_count)
        .max();
    assert_eq!((received.len(), most), (2, Some(3)));
    peek::put_back(&queues.dead, received.iter()).await.unwrap();

    assert_eq!(dead::redrive(&pool, one.row_id).await.unwrap(), 1);
    look().await;
    assert_eq!(queues.dead.counts().await.unwrap().visible, 1);

    // As many as before, after there were none.
    let left = peek::peek(&queues.dead, Duration::from_secs(1))
        .await
        .unwrap();
    let receipts = left.into_iter().map(|letter| letter.message.receipt);
    queues.dead.delete(receipts.collect()).await.unwrap();
    look().await;
    put_all(&queues.dead, std::slice::from_ref(&third)).await;
    look().await;
    assert!(world.one::<bool>(dead, third.row_id).await);
}

/// Those in front, which are known, may not hide for ever the one behind them.
#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_letter_is_read_however_many_stand_before_it(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let order = world.paid_order().await;
    let last = world.last(Destination::Tickets, order).await.unwrap();
    let many = i64::try_from(peek::MOST + 5).unwrap();
    let known: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "INSERT INTO outbox (id, destination, group_id, sequence, kind, sends, dead_at)
        SELECT gen_random_uuid(), 'tickets', gen_random_uuid(), 1, 'render_tickets', 1, now()
        FROM generate_series(1, $1) RETURNING id, group_id",
    )
    .bind(many)
    .fetch_all(&pool)
    .await
    .unwrap();
    let known = known.into_iter().map(|(row_id, group_id)| Pointer {
        row_id,
        group_id,
        ..last.clone()
    });
    let letters: Vec<_> = known.chain([last.clone()]).collect();
    let queues = Queues::standard().await;
    for letters in letters.chunks(10) {
        put_all(&queues.dead, letters).await;
    }
    let queue = (Destination::Tickets, queues.dead.clone());
    let dead_letters = DeadLetters::new(world.office.clone(), vec![queue]);
    let token = fence::mint(&pool, "a").await.unwrap();
    for _ in 0..2 {
        dead_letters.look(token).await.unwrap();
    }
    let dead = "SELECT dead_at IS NOT NULL FROM outbox WHERE id = $1";
    assert!(world.one::<bool>(dead, last.row_id).await);
    // The rows are what a redrive goes by, however many.
    let listed = dead::list(&pool, Some(Destination::Tickets), None, i64::MAX).await;
    assert_eq!(listed.unwrap().len(), letters.len());
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn an_unreadable_letter_is_moved_and_not_copied() {
    for queues in [Queues::fifo().await, Queues::standard().await] {
        let Queues { live, dead } = queues;
        let visible = async |queue: &Queue| {
            let counts = queue.counts().await.unwrap();
            assert_eq!(counts.in_flight, 0, "{}", queue.name());
            counts.visible
        };
        let strays = Strays::new(live.clone(), dead.clone());
        put(&dead, "not a pointer").await;
        put(&dead, "nor this").await;
        let listed = strays.list(None).await.unwrap();
        assert_eq!((listed.len(), visible(&dead).await), (2, 2));

        let id: Uuid = listed[0].message_id.parse().unwrap();
        assert_eq!(strays.redrive(Some(id)).await.unwrap(), 1);
        assert_eq!((visible(&live).await, visible(&dead).await), (1, 1));
        assert_eq!(strays.redrive(Some(id)).await.unwrap(), 0);
        assert_eq!(strays.redrive(None).await.unwrap(), 1);
        assert_eq!(visible(&live).await, 2);
        assert_eq!(dead.counts().await.unwrap(), Counts::default());
    }
}

#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_letter_that_cannot_be_sent_stays_where_it_is() {
    let Queues { dead, .. } = Queues::fifo().await;
    let nobody = Queue::new(queue::client("http://127.0.0.1:9"), "nobody");
    put(&dead, "not a pointer").await;
    let strays = Strays::new(nobody, dead.clone());
    assert!(strays.redrive(None).await.is_err());
    let counts = dead.counts().await.unwrap();
    assert_eq!((counts.visible, counts.in_flight), (1, 0));
}
