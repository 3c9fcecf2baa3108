//! A receive loop with up to ten slots: never asks for more messages than it has free slots.

use std::sync::Arc;
use std::time::Duration;

use backoff::Backoff;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::delivery::{Delivery, Options, Outcome};
use crate::hand::Hand;
use crate::lane::{self, Held, Work};
use crate::message::Received;
use crate::queue::BATCH;
use crate::{Error, Queue, deleter, metrics};

/// How long to wait for all slots before asking with those that are free. Handlers that take no
/// time free all slots within it, and full batches are what makes a queue fast.
const GATHER: Duration = Duration::from_millis(10);

/// The longest long poll. A stop waits for one under way: a poll that is cut off is answered all the
/// same, to nobody, and what it took would be hidden until its visibility timeout.
const POLL: Duration = Duration::from_secs(2);

/// How long a stop waits for a receive under way, which a queue that is well answers within
/// [`POLL`].
const STOP_RECEIVING_WITHIN: Duration = Duration::from_secs(3);

/// How long after a stop handlers may take to end.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// How long a stop lets the last deletes, and messages that are given back, take.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait after a receive that failed, and at most after many.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(crate) struct Receiver {
    queue: Queue,
    options: Options,
    slots: usize,
    stop: CancellationToken,
}

impl Receiver {
    pub(crate) fn new(
        queue: Queue,
        options: Options,
        slots: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            queue,
            options,
            slots: slots.clamp(1, BATCH),
            stop,
        }
    }

    pub(crate) async fn run<T, H, F>(self, handler: Arc<H>)
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(T, Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let hand = Hand::default();
        let heartbeat = hand
            .clone()
            .keep_hidden(self.queue.clone(), self.options.visibility);
        let heartbeat = AbortOnDropHandle::new(tokio::spawn(heartbeat));
        let (deletes, to_delete) = mpsc::channel(self.slots * 4);
        let deleting = deleter::run(self.queue.clone(), hand.clone(), to_delete, self.slots);
        let deleting = AbortOnDropHandle::new(tokio::spawn(deleting));
        let drop_all = CancellationToken::new();
        // Counted from the stop, not from the end of a receive that was under way then.
        let (stop, end) = (self.stop.clone(), drop_all.clone());
        let _deadline = AbortOnDropHandle::new(tokio::spawn(async move {
            stop.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
            end.cancel();
        }));
        let work = Arc::new(Work {
            queue: self.queue.clone(),
            options: self.options,
            hand: hand.clone(),
            deletes,
            handler,
            stop: self.stop.clone(),
            drop_all: drop_all.clone(),
        });

        let mut lanes = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.slots));
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while let Some(free) = self.free_slots(&slots).await {
            while lanes.try_join_next().is_some() {}
            match self.receive(free.num_permits()).await {
                Some(Ok(messages)) => {
                    backoff.reset();
                    // One task for all that came together: a task a message would wake a thread
                    // for each.
                    let together = self.hold(&hand, messages, free).into_iter();
                    lanes.spawn(join_all(together.map(|lane| work.clone().run(lane))));
                }
                Some(Err(error)) => {
                    metrics::RECEIVE_ERRORS
                        .with_label_values(&[self.queue.name()])
                        .inc();
                    tracing::warn!(queue.name = self.queue.name(), %error, "receive failed");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.pause()) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                None => {}
            }
        }

        // Lanes give back what they have not begun as soon as they see the stop.
        let ended = async { while lanes.join_next().await.is_some() {} };
        let dropped = async {
            drop_all.cancelled().await;
            tracing::warn!(
                queue.name = self.queue.name(),
                "handlers did not end: dropped"
            );
            tokio::time::sleep(FLUSH_WITHIN).await;
        };
        tokio::select! {
            () = ended => {}
            () = dropped => {}
        }
        drop((lanes, work));
        if timeout(FLUSH_WITHIN, deleting).await.is_err() {
            tracing::warn!(
                queue.name = self.queue.name(),
                "last deletes were not answered"
            );
        }
        drop(heartbeat);
    }

    /// Waits until there is a free slot, and a little longer for all of them. `None` after a stop,
    /// whether or not there is one.
    async fn free_slots(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(self.slots).unwrap_or(1);
        let free = async {
            if let Ok(free) = timeout(GATHER, slots.clone().acquire_many_owned(all)).await {
                return free.ok();
            }
            let mut free = slots.clone().acquire_owned().await.ok()?;
            while let Ok(another) = slots.clone().try_acquire_owned() {
                free.merge(another);
            }
            Some(free)
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            free = free => free,
        }
    }

    /// `None` if the answer was not waited for any longer after a stop.
    async fn receive(&self, max: usize) -> Option<Result<Vec<Received>, Error>> {
        let Options {
            visibility, wait, ..
        } = self.options;
        let wait = wait.min(POLL);
        let late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_RECEIVING_WITHIN).await;
        };
        tokio::select! {
            received = self.queue.receive(i32::try_from(max).unwrap_or(1), visibility, wait) => {
                Some(received)
            }
            () = late => None,
        }
    }

    /// Takes messages in hand, each with a slot, sorted into lanes.
    fn hold(
        &self,
        hand: &Hand,
        messages: Vec<Received>,
        mut free: OwnedSemaphorePermit,
    ) -> Vec<Vec<Held>> {
        let received_at = Instant::now();
        let mut held = Vec::with_capacity(messages.len());
        for message in messages {
            // Without a slot only if the queue gave more than it was asked for: such a message
            // comes again when its time runs out.
            let Some(slot) = free.split(1) else { break };
            hand.hold(message.receipt.clone(), received_at);
            held.push(Held { message, slot });
        }
        lane::sort(held, |held| held.message.group.as_deref())
    }
}
