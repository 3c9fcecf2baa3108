//! Order within a group.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Consumer, Delivery, Options, Outcome};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::stand::{OPTIONS, SECOND, SLACK, Stand};

/// What handlers did with the messages of each group.
#[derive(Default)]
struct Groups {
    begun: HashMap<String, u32>,
    done: HashMap<String, Vec<u32>>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn messages_of_a_group_take_effect_in_order_also_when_some_fail_at_first() {
    const GROUPS: u32 = 6;
    const EACH: u32 = 15;
    let stand = Stand::fifo().await;
    stand
        .send((0..GROUPS * EACH).map(|number| (number, Some(number % GROUPS))))
        .await;

    let groups: Arc<Mutex<Groups>> = Arc::default();
    let handler = {
        let groups = groups.clone();
        move |number: u32, delivery: Delivery| {
            let groups = groups.clone();
            async move {
                let group = delivery.group.expect("the group is told");
                {
                    let mut groups = groups.lock().unwrap();
                    let begun = groups.begun.entry(group.clone()).or_default();
                    *begun += 1;
                    assert_eq!(*begun, 1, "one message of a group at a time");
                }
                tokio::time::sleep(Duration::from_millis(u64::from(number % 7))).await;
                let mut groups = groups.lock().unwrap();
                *groups.begun.entry(group.clone()).or_default() -= 1;
                // Every eleventh fails when it first comes.
                if number.is_multiple_of(11) && delivery.receive_count == 1 {
                    return Outcome::Retry;
                }
                groups.done.entry(group).or_default().push(number);
                Outcome::Done
            }
        }
    };
    let stop = CancellationToken::new();
    let options = Options {
        concurrency: 15,
        ..OPTIONS
    };
    let running: Vec<_> = (0..2)
        .map(|_| {
            let consumer = Consumer::new(stand.queue.clone(), options);
            tokio::spawn(consumer.run(stop.clone(), handler.clone()))
        })
        .collect();
    stand.is_empty(60 * SECOND).await;
    stop.cancel();
    for consumer in running {
        timeout(SLACK * 5 * SECOND, consumer)
            .await
            .expect("it stops")
            .unwrap();
    }
    assert_eq!(stand.dead_letters.counts().await.unwrap().visible, 0);
    let groups = groups.lock().unwrap();
    assert_eq!(groups.done.len(), usize::try_from(GROUPS).unwrap());
    for (group, numbers) in &groups.done {
        let first: u32 = group.parse().unwrap();
        let wanted: Vec<_> = (0..EACH).map(|index| first + index * GROUPS).collect();
        assert_eq!(*numbers, wanted, "group {group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn poison_reaches_the_dead_letter_queue_after_five_receives_and_frees_its_group() {
    let stand = Stand::fifo().await;
    let poison = crate::stand::outgoing("not a number", Some(1));
    stand.queue.send(vec![poison]).await.unwrap();
    let handled: Arc<Mutex<Vec<u32>>> = Arc::default();
    let stop = CancellationToken::new();
    let consumer = Consumer::new(stand.queue.clone(), OPTIONS);
    let running = tokio::spawn(consumer.run(stop.clone(), {
        let handled = handled.clone();
        move |number: u32, _| {
            handled.lock().unwrap().push(number);
            async { Outcome::Done }
        }
    }));
    crate::stand::counted(&stand.dead_letters, 10 * SECOND, |counts| {
        counts.visible == 1
    })
    .await;
    stand.send([(1, Some(1)), (2, Some(2))]).await;
    stand.is_empty(10 * SECOND).await;
    stop.cancel();
    running.await.unwrap();
    handled.lock().unwrap().sort_unstable();
    assert_eq!(*handled.lock().unwrap(), [1, 2]);
    let dead = stand
        .dead_letters
        .receive(10, SECOND, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].body, "not a number");
    let poisoned = metric("queue_messages_total", stand.queue.name(), "poison");
    assert!(
        (poisoned - 5.0).abs() < f64::EPSILON,
        "five receives, {poisoned} counted"
    );
}

/// A counter of this process, by its labels.
fn metric(name: &str, queue: &str, outcome: &str) -> f64 {
    let families = prometheus::gather();
    let family = families
        .iter()
        .find(|family| family.name() == name)
        .expect("it is registered");
    let has = |metric: &&prometheus::proto::Metric| {
        let labels = metric.get_label();
        [("queue", queue), ("outcome", outcome)]
            .iter()
            .all(|(name, value)| {
                labels
                    .iter()
                    .any(|label| label.name() == *name && label.value() == *value)
            })
    };
    let metric = family
        .get_metric()
        .iter()
        .find(has)
        .expect("it has these labels");
    metric.get_counter().get_value()
}
