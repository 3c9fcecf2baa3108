//! A lane: the messages of one group that were received together, handled one after another.
//!
//! Without a group each message is a lane of its own.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::delivery::{Delivery, Options, Outcome};
use crate::hand::Hand;
use crate::message::Received;
use crate::{Queue, metrics};

/// How long a handler may take.
const HANDLER_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The least time that messages of one group are hidden which are to come again together.
const TOGETHER: Duration = Duration::from_secs(1);

/// A message in hand and the slot it takes up.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) message: Received,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Sorts messages into lanes; within a lane in the order received.
pub(crate) fn sort<M>(messages: Vec<M>, group: impl Fn(&M) -> Option<&str>) -> Vec<Vec<M>> {
    let mut lanes: Vec<Vec<M>> = Vec::new();
    let mut lane_of: HashMap<String, usize> = HashMap::new();
    for message in messages {
        let lane = group(&message).map(|group| {
            let next = lanes.len();
            *lane_of.entry(group.to_owned()).or_insert(next)
        });
        match lane.and_then(|lane| lanes.get_mut(lane)) {
            Some(lane) => lane.push(message),
            None => lanes.push(vec![message]),
        }
    }
    lanes
}

/// What lanes of one receive loop have in common.
#[derive(Debug)]
pub(crate) struct Work<H> {
    pub(crate) queue: Queue,
    pub(crate) options: Options,
    pub(crate) hand: Hand,
    pub(crate) deletes: mpsc::Sender<String>,
    pub(crate) handler: Arc<H>,
    /// Begin nothing new.
    pub(crate) stop: CancellationToken,
    /// Drop what was begun.
    pub(crate) drop_all: CancellationToken,
}

/// How the handling of one message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Returned(Outcome),
    Poison,
    Failed,
    Dropped,
}

impl Ended {
    fn label(self) -> Option<&'static str> {
        match self {
            Self::Returned(Outcome::Done) => Some("done"),
            Self::Returned(Outcome::Stale) => Some("stale"),
            Self::Returned(Outcome::Retry) => Some("retried"),
            Self::Poison => Some("poison"),
            Self::Failed => Some("failed"),
            Self::Dropped => None,
        }
    }
}

impl<H> Work<H> {
    /// Handles the messages of a lane in order. After one that failed the rest is given back.
    pub(crate) async fn run<T, F>(self: Arc<Self>, lane: Vec<Held>)
    where
        T: DeserializeOwned,
        H: Fn(T, Delivery) -> F,
        F: Future<Output = Outcome>,
    {
        let mut lane = lane.into_iter();
        while let Some(Held { message, slot }) = lane.next() {
            let hidden_for = if self.stop.is_cancelled() {
                Duration::ZERO
            } else {
                let ended = self.handle(&message).await;
                if let Some(label) = ended.label() {
                    metrics::MESSAGES
                        .with_label_values(&[self.queue.name(), label])
                        .inc();
                }
                match ended {
                    Ended::Returned(Outcome::Done | Outcome::Stale) => {
                        // Still in hand, and so hidden, until it is deleted. The channel is open
                        // as long as there are lanes.
                        let _ = self.deletes.send(message.receipt).await;
                        continue;
                    }
                    Ended::Returned(Outcome::Retry) | Ended::Failed => {
                        (self.options.retry_after)(message.receive_count)
                    }
                    Ended::Poison | Ended::Dropped => Duration::ZERO,
                }
            };
            drop(slot);
            let mut rest = vec![message];
            rest.extend(lane.map(|held| held.message));
            return give_back(&self.queue, &self.hand, rest, hidden_for).await;
        }
    }

    async fn handle<T, F>(&self, message: &Received) -> Ended
    where
        T: DeserializeOwned,
        H: Fn(T, Delivery) -> F,
        F: Future<Output = Outcome>,
    {
        let queue = self.queue.name();
        let body = match serde_json::from_str::<T>(&message.body) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(
                    queue.name = queue,
                    message.id = message.message_id,
                    message.receive_count = message.receive_count,
                    %error,
                    "poison: the body cannot be read"
                );
                return Ended::Poison;
            }
        };
        let delivery = Delivery {
            receive_count: message.receive_count,
            message_id: message.message_id.clone(),
            group: message.group.clone(),
        };
        let span = tracing::info_span!(
            "message",
            queue.name = queue,
            message.id = message.message_id,
            message.receive_count = message.receive_count
        );
        let started = Instant::now();
        // The handler's own call, too, may panic before it returns a future.
        let handled = AssertUnwindSafe(async { (self.handler)(body, delivery).await })
            .catch_unwind()
            .instrument(span);
        let ended = tokio::select! {
            handled = tokio::time::timeout(HANDLER_LIMIT, handled) => match handled {
                Ok(Ok(outcome)) => Ended::Returned(outcome),
                Ok(Err(_)) => Ended::Failed,
                Err(_) => Ended::Failed,
            },
            () = self.drop_all.cancelled() => Ended::Dropped,
        };
        metrics::HANDLER_SECONDS
            .with_label_values(&[queue])
            .observe(started.elapsed().as_secs_f64());
        if ended == Ended::Failed {
            tracing::error!(
                queue.name = queue,
                message.id = message.message_id,
                "a handler panicked or did not return: the message comes again"
            );
        }
        ended
    }
}

/// Lets what is left of a lane come again after a while, for several messages no less than a
/// second, so that they come together.
///
/// SQS keeps a group back while any of its messages is hidden. LocalStack makes the group
/// available with the first of them that becomes visible, and a follower that becomes visible
/// later could then be received beside it. So they are hidden for the same time, and the last
/// first: LocalStack lets nothing come before what it handed out earlier.
async fn give_back(queue: &Queue, hand: &Hand, lane: Vec<Received>, hidden_for: Duration) {
    let hidden_for = if lane.len() > 1 {
        hidden_for.max(TOGETHER)
    } else {
        hidden_for
    };
    let changes = lane.into_iter().rev().map(|message| {
        hand.release(&message.receipt);
        (message.receipt, hidden_for)
    });
    if let Err(error) = queue.change_visibility(changes.collect()).await {
        tracing::debug!(
            queue.name = queue.name(),
            %error,
            "messages could not be given back: they come again when their time runs out"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Every message is in one lane, lanes of groups keep the order, and what has no group
        /// is alone.
        #[test]
        fn lanes_keep_order_and_lose_nothing(
            groups in proptest::collection::vec(proptest::option::of(0_u8..4), 0..20)
        ) {
            let messages: Vec<(usize, Option<String>)> = groups
                .iter()
                .map(|group| group.map(|group| group.to_string()))
                .enumerate()
                .collect();
            let lanes = sort(messages.clone(), |(_, group)| group.as_deref());
            let mut seen: Vec<_> = lanes.iter().flatten().cloned().collect();
            seen.sort_unstable();
            proptest::prop_assert_eq!(&seen, &messages);
            for lane in &lanes {
                proptest::prop_assert!(lane.is_sorted());
                proptest::prop_assert!(lane.iter().all(|(_, group)| *group == lane[0].1));
                proptest::prop_assert!(lane.len() == 1 || lane[0].1.is_some());
            }
            let named = lanes.iter().filter_map(|lane| lane[0].1.clone());
            let mut named: Vec<_> = named.collect();
            let count = named.len();
            named.sort_unstable();
            named.dedup();
            proptest::prop_assert_eq!(named.len(), count, "one lane a group");
        }
    }
}
