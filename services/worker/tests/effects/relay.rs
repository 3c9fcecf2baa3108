use std::time::Duration;

use messages::outbox::Destination;
use sqlx::PgPool;
use worker::fence;
use worker::tasks::Failure;
use worker::tasks::relay::Relay;

use crate::queues::{Queues, put};
use crate::world::{FINE, World, metric};

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_queue_that_stands_empty_is_purged_once_an_hour_and_another_never(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let Queues { live: queue, .. } = Queues::fifo().await;
    let resend = Duration::from_secs(10);
    let relay = Relay::new(
        world.office.clone(),
        queue.clone(),
        Destination::Payments,
        resend,
    );
    let series = format!("queue_purges_total{{queue=\"{}\"}}", queue.name());

    put(&queue, "a message").await;
    assert!(!relay.purge(token).await.unwrap(), "it waits");
    let received = queue.receive(1, resend, Duration::ZERO).await.unwrap();
    assert!(
        !relay.purge(token).await.unwrap(),
        "it is in somebody's hand"
    );
    let receipts = received.into_iter().map(|message| message.receipt);
    queue.delete(receipts.collect()).await.unwrap();
    assert!(relay.purge(token).await.unwrap());
    assert!(!relay.purge(token).await.unwrap(), "once an hour");
    assert_eq!(metric(&series), 1.0);

    let next = fence::mint(&pool, "b").await.unwrap();
    assert!(!relay.purge(next).await.unwrap(), "whoever leads");
    sqlx::query("UPDATE leader_tasks SET last_effect_at = now() - interval '61 minutes'")
        .execute(&pool)
        .await
        .unwrap();
    let late = relay.purge(token).await;
    assert!(matches!(late, Err(Failure::Refused)), "{late:?}");
    assert!(relay.purge(next).await.unwrap());
    assert_eq!(metric(&series), 2.0);
}
