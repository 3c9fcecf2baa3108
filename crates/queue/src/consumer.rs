//! A consumer: receives, handles, deletes, until it is stopped.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Delivery, Options, Outcome};
use crate::queue::BATCH;
use crate::receiver::Receiver;
use crate::{Queue, metrics};

/// Takes messages off a queue and gives them to a handler.
#[derive(Clone, Debug)]
pub struct Consumer {
    queue: Queue,
    options: Options,
}

impl Consumer {
    /// A consumer of `queue`.
    #[must_use]
    pub fn new(queue: Queue, options: Options) -> Self {
        metrics::register(queue.name());
        Self { queue, options }
    }

    /// Receives and handles messages until `stop`. There is one receive loop for each ten of
    /// [`Options::concurrency`], the most that SQS gives at once.
    ///
    /// A body that is not a `T` is never deleted: it comes again soon, until the redrive policy
    /// moves it to the dead-letter queue. A handler that panics, or has not returned after a
    /// quarter of an hour, counts as [`Outcome::Retry`].
    ///
    /// After `stop` nothing is received any more but what a receive under way takes; what was
    /// received but not begun is given back (to come again at once, or after a second where it is
    /// several messages of a group), what was begun has 5 s from the stop to end, and what was done
    /// is deleted. It is over 7 s after the stop.
    pub async fn run<T, H, F>(self, stop: CancellationToken, handler: H)
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(T, Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut receivers = JoinSet::new();
        for slots in shares(self.options.concurrency) {
            let receiver = Receiver::new(self.queue.clone(), self.options, slots, stop.clone());
            receivers.spawn(receiver.run(handler.clone()));
        }
        while let Some(ended) = receivers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(queue.name = self.queue.name(), %error, "a receive loop broke");
            }
        }
    }
}

/// Slots of each receive loop: as even as can be, at most ten each.
fn shares(concurrency: usize) -> impl Iterator<Item = usize> {
    let concurrency = concurrency.max(1);
    let loops = concurrency.div_ceil(BATCH);
    (0..loops).map(move |index| concurrency / loops + usize::from(index < concurrency % loops))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn shares_add_up_and_fit_a_receive(concurrency in 1_usize..500) {
            let shares: Vec<_> = shares(concurrency).collect();
            proptest::prop_assert_eq!(shares.iter().sum::<usize>(), concurrency);
            proptest::prop_assert!(shares.iter().all(|share| (1..=BATCH).contains(share)));
            proptest::prop_assert_eq!(shares.len(), concurrency.div_ceil(BATCH));
        }
    }
}
