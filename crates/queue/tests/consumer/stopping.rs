//! A stop loses nothing and takes no longer than it may.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Consumer, Options, Outcome, Queue};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::stand::{OPTIONS, SECOND, SLACK, Stand, counted};

const POLLING_LONG: Options = Options {
    wait: Duration::from_secs(20),
    ..OPTIONS
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_stop_finishes_what_was_begun_and_gives_back_the_rest() {
    let stand = Stand::fifo().await;
    stand
        .send((0..40).map(|number| (number, Some(number % 4))))
        .await;
    let handled: Arc<Mutex<Vec<u32>>> = Arc::default();
    // Would hide what is not given back for longer than this test may take.
    let options = Options {
        visibility: 600 * SECOND,
        ..OPTIONS
    };
    let began = Instant::now();
    for round in 0.. {
        assert!(began.elapsed() < 120 * SECOND, "after {round} rounds");
        let stop = CancellationToken::new();
        let consumer = Consumer::new(stand.queue.clone(), options);
        let running = tokio::spawn(consumer.run(stop.clone(), {
            let handled = handled.clone();
            move |number: u32, _| {
                let handled = handled.clone();
                async move {
                    tokio::time::sleep(SECOND / 20).await;
                    handled.lock().unwrap().push(number);
                    Outcome::Done
                }
            }
        }));
        tokio::time::sleep(SECOND / 2).await;
        stop.cancel();
        let stopped = timeout(SLACK * 2 * SECOND, running).await;
        stopped.expect("a stop is bounded").unwrap();
        counted(&stand.queue, 4 * SECOND, |counts| counts.in_flight == 0).await;
        let counts = stand.queue.counts().await.unwrap();
        // A receive counts for what is given back, too; some may be dead by now.
        if counts.visible == 0 {
            assert!(round > 0, "the first stop came in the middle");
            break;
        }
    }
    let mut numbers = handled.lock().unwrap().clone();
    let dead = stand.dead_letters.counts().await.unwrap().visible;
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "each was handled once");
    assert_eq!(
        count + usize::try_from(dead).unwrap(),
        40,
        "none is lost, {dead} are dead"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_handler_that_does_not_end_is_dropped_and_its_message_comes_again() {
    // It has five seconds from the stop, and not from the end of the poll under way, which has two. A
    // busy machine may be late, but not each time.
    let mut times = Vec::new();
    while times.iter().all(|took| *took >= 6 * SECOND) {
        assert!(times.len() < SLACK as usize, "{times:?}");
        times.push(stopped_beside_a_handler_that_does_not_end().await);
    }
}

/// How long a stop takes where a handler does not end.
async fn stopped_beside_a_handler_that_does_not_end() -> Duration {
    let stand = Stand::standard().await;
    stand.send([(1, None)]).await;
    let stop = CancellationToken::new();
    let options = Options {
        wait: 2 * SECOND,
        ..OPTIONS
    };
    let consumer = Consumer::new(stand.queue.clone(), options);
    let running = tokio::spawn(consumer.run(stop.clone(), |_: u32, _| std::future::pending()));
    counted(&stand.queue, 3 * SECOND, |counts| counts.in_flight == 1).await;
    // The next poll has just begun.
    stop.cancel();
    let stopped = Instant::now();
    timeout(SLACK * 6 * SECOND, running)
        .await
        .expect("a stop is bounded")
        .unwrap();
    let took = stopped.elapsed();
    let counts = stand.queue.counts().await.unwrap();
    assert_eq!((counts.visible, counts.in_flight), (1, 0));
    took
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_stop_is_prompt_when_there_is_nothing_and_when_nobody_answers() {
    let stand = Stand::standard().await;
    // Nobody listens at port 9, the discard service's.
    let nobody = Queue::new(queue::client("http://127.0.0.1:9"), "nobody");
    assert!(nobody.counts().await.is_err());
    for queue in [stand.queue, nobody] {
        let stop = CancellationToken::new();
        let consumer = Consumer::new(queue, POLLING_LONG);
        let handler = |_: u32, _| async { Outcome::Done };
        let running = tokio::spawn(consumer.run(stop.clone(), handler));
        tokio::time::sleep(SECOND).await;
        stop.cancel();
        // Sooner than a poll ends.
        timeout(POLLING_LONG.wait / 2, running)
            .await
            .expect("prompt")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_consumer_that_has_stopped_takes_nothing_that_is_sent_after_it() {
    let stand = Stand::standard().await;
    let stop = CancellationToken::new();
    let consumer = Consumer::new(stand.queue.clone(), POLLING_LONG);
    let handler = |_: u32, _| async { Outcome::Done };
    let running = tokio::spawn(consumer.run(stop.clone(), handler));
    tokio::time::sleep(SECOND).await;
    stop.cancel();
    running.await.unwrap();
    stand.send([(1, None)]).await;
    let received = stand.queue.receive(1, SECOND, SECOND).await.unwrap();
    assert_eq!(received.len(), 1, "a poll of the stopped consumer took it");
}

/// On one thread, so that the receive loop waits for a free slot when the handler stops it.
#[tokio::test]
#[ignore = "needs the stores: make test"]
async fn a_slot_that_gets_free_with_the_stop_is_not_used_to_receive_once_more() {
    let stand = Stand::standard().await;
    stand.send([(1, None)]).await;
    let stop = CancellationToken::new();
    let options = Options {
        concurrency: 1,
        ..POLLING_LONG
    };
    let stopped: Arc<Mutex<Option<Instant>>> = Arc::default();
    let handler = {
        let (stop, stopped) = (stop.clone(), stopped.clone());
        move |_: u32, _| {
            stop.cancel();
            *stopped.lock().unwrap() = Some(Instant::now());
            async { Outcome::Done }
        }
    };
    let consumer = Consumer::new(stand.queue.clone(), options);
    consumer.run(stop, handler).await;
    let stopped = stopped.lock().unwrap().expect("it was handled");
    // Sooner than a poll ends.
    let took = stopped.elapsed();
    assert!(took < POLLING_LONG.wait / 2, "{took:?}");
    stand.is_empty(SECOND).await;
}
