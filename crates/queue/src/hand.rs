//! What a consumer has in hand, and the heartbeat that keeps it invisible to others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Queue;

/// Messages in hand: from their receipt until they are deleted or given back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand {
    /// In the order received: the receipt, and when the message was last hidden.
    held: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Hand {
    pub(crate) fn hold(&self, receipt: String, received_at: Instant) {
        self.lock().push((receipt, received_at));
    }

    /// Ends the heartbeat of a message.
    pub(crate) fn release(&self, receipt: &str) {
        self.lock().retain(|(held, _)| held != receipt);
    }

    /// Hides every message in hand again when a third of `visibility` has passed since it was
    /// last hidden; looks twice in that time, so that it happens before half of it has passed,
    /// and a call that fails is repeated before the message becomes visible. Runs until dropped.
    pub(crate) async fn keep_hidden(self, queue: Queue, visibility: Duration) {
        loop {
            tokio::time::sleep(visibility / 6).await;
            let due = self.due(visibility / 3);
            if due.is_empty() {
                continue;
            }
            let now = Instant::now();
            let changes = due
                .iter()
                .map(|receipt| (receipt.clone(), visibility))
                .collect();
            match queue.change_visibility(changes).await {
                Ok(()) => self.hidden(&due, now),
                Err(error) => {
                    tracing::warn!(queue.name = queue.name(), %error, "heartbeat failed");
                }
            }
        }
    }

    /// The latest received first, so that of one group's messages no later one stays hidden when
    /// an earlier one becomes visible because the heartbeat ended.
    fn due(&self, after: Duration) -> Vec<String> {
        let held = self.lock();
        let due = held
            .iter()
            .rev()
            .filter(|(_, hidden_at)| hidden_at.elapsed() >= after);
        due.map(|(receipt, _)| receipt.clone()).collect()
    }

    fn hidden(&self, receipts: &[String], at: Instant) {
        for (receipt, hidden_at) in self.lock().iter_mut() {
            if receipts.contains(receipt) {
                *hidden_at = at;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
