//! Nothing is lost, and nothing is in two hands while it need not be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Consumer, Delivery, Options, Outcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stand::{OPTIONS, SECOND, Stand, counted};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_heartbeat_keeps_slow_and_waiting_messages_from_being_delivered_twice() {
    let stand = Stand::fifo().await;
    // Of one group: the second waits in hand while the first is handled.
    stand.send([(1, Some(1)), (2, Some(1)), (3, Some(2))]).await;
    let deliveries: Arc<Mutex<Vec<(u32, u32)>>> = Arc::default();
    let stop = CancellationToken::new();
    // A busy machine may miss a heartbeat, and not all of them.
    let options = Options {
        visibility: 5 * SECOND,
        ..OPTIONS
    };
    let mut running = Vec::new();
    for _ in 0..2 {
        let deliveries = deliveries.clone();
        let consumer = Consumer::new(stand.queue.clone(), options);
        running.push(tokio::spawn(consumer.run(
            stop.clone(),
            move |number: u32, delivery| {
                let Delivery { receive_count, .. } = delivery;
                deliveries.lock().unwrap().push((number, receive_count));
                async move {
                    tokio::time::sleep(12 * SECOND).await;
                    Outcome::Done
                }
            },
        )));
    }
    stand.is_empty(30 * SECOND).await;
    stop.cancel();
    for consumer in running {
        consumer.await.unwrap();
    }
    deliveries.lock().unwrap().sort_unstable();
    assert_eq!(*deliveries.lock().unwrap(), [(1, 1), (2, 1), (3, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn no_more_is_in_hand_than_there_are_slots() {
    let stand = Stand::standard().await;
    stand.send((0..60).map(|number| (number, None))).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stop = CancellationToken::new();
    let consumer = Consumer::new(
        stand.queue.clone(),
        Options {
            concurrency: 13,
            ..OPTIONS
        },
    );
    let running = tokio::spawn(consumer.run(stop.clone(), {
        let (now, most) = (now.clone(), most.clone());
        move |_: u32, _| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(SECOND / 2).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Outcome::Done
            }
        }
    }));
    let mut in_flight = 0;
    for _ in 0..20 {
        in_flight = in_flight.max(stand.queue.counts().await.unwrap().in_flight);
        tokio::time::sleep(SECOND / 20).await;
    }
    stand.is_empty(20 * SECOND).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(
        most.load(Ordering::SeqCst),
        13,
        "all slots are used, and no more"
    );
    // Those that wait to be deleted are in flight too.
    assert!(in_flight <= 26, "{in_flight} in flight");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn what_fails_or_panics_comes_again_after_its_back_off_and_ends_as_a_dead_letter() {
    let stand = Stand::standard().await;
    stand.send([(1, None), (2, None)]).await;
    let times: Arc<Mutex<Vec<(u32, u32, Instant)>>> = Arc::default();
    let stop = CancellationToken::new();
    let options = Options {
        // Longer than this test waits: a message that comes again does so after its back-off.
        visibility: 600 * SECOND,
        retry_after: |count| {
            if count == 1 {
                2 * SECOND
            } else {
                Duration::ZERO
            }
        },
        ..OPTIONS
    };
    let consumer = Consumer::new(stand.queue.clone(), options);
    let running = tokio::spawn(consumer.run(stop.clone(), {
        let times = times.clone();
        move |number: u32, delivery: Delivery| {
            times
                .lock()
                .unwrap()
                .push((number, delivery.receive_count, Instant::now()));
            async move {
                assert_ne!(number, 1, "a handler that panics");
                Outcome::Retry
            }
        }
    }));
    counted(&stand.dead_letters, 20 * SECOND, |counts| {
        counts.visible == 2
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    for number in [1, 2] {
        let times = times.lock().unwrap();
        let deliveries: Vec<_> = times
            .iter()
            .filter(|(which, ..)| *which == number)
            .collect();
        let counts: Vec<_> = deliveries.iter().map(|(_, count, _)| *count).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5]);
        let back_off = deliveries[1].2 - deliveries[0].2;
        assert!(back_off > 3 * SECOND / 2, "{back_off:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_queue_that_was_lost_and_made_anew_is_consumed_again() {
    let stand = Stand::standard().await;
    let made = stand.queue.created_at().await.unwrap();
    let handled: Arc<Mutex<Vec<u32>>> = Arc::default();
    let stop = CancellationToken::new();
    let consumer = Consumer::new(stand.queue.clone(), OPTIONS);
    let running = tokio::spawn(consumer.run(stop.clone(), {
        let handled = handled.clone();
        move |number: u32, _| {
            handled.lock().unwrap().push(number);
            async { Outcome::Stale }
        }
    }));
    stand.send([(1, None)]).await;
    stand.is_empty(5 * SECOND).await;
    stand.lose().await;
    tokio::time::sleep(2 * SECOND).await;
    assert!(matches!(
        stand.queue.counts().await,
        Err(queue::Error::Missing { .. })
    ));
    stand.make_again().await;
    stand.send([(2, None)]).await;
    stand.is_empty(5 * SECOND).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(*handled.lock().unwrap(), [1, 2]);
    assert!(stand.queue.created_at().await.unwrap() > made);
}
