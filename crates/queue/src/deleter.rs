//! Deletes what was handled, in batches.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::Queue;
use crate::hand::Hand;

/// How long a message that was handled waits for others to be deleted with it.
const LINGER: Duration = Duration::from_millis(20);

/// Most delete calls under way.
const CALLS: usize = 4;

/// How often a batch is tried. What could not be deleted comes again.
const ATTEMPTS: u32 = 3;

/// Deletes the receipts that come in, `batch` a call or whatever came within 20 ms, until the
/// channel is closed and everything is deleted.
pub(crate) async fn run(
    queue: Queue,
    hand: Hand,
    mut receipts: mpsc::Receiver<String>,
    batch: usize,
) {
    let mut calls = JoinSet::new();
    while let Some(first) = receipts.recv().await {
        let mut collected = vec![first];
        let until = tokio::time::Instant::now() + LINGER;
        while collected.len() < batch {
            match timeout_at(until, receipts.recv()).await {
                Ok(Some(receipt)) => collected.push(receipt),
                Ok(None) | Err(_) => break,
            }
        }
        while calls.len() >= CALLS {
            calls.join_next().await;
        }
        while calls.try_join_next().is_some() {}
        calls.spawn(delete(queue.clone(), hand.clone(), collected));
    }
    while calls.join_next().await.is_some() {}
}

async fn delete(queue: Queue, hand: Hand, receipts: Vec<String>) {
    for attempt in 1..=ATTEMPTS {
        match queue.delete(receipts.clone()).await {
            // What was refused comes again, as everything does that was not deleted.
            Ok(_) => break,
            Err(error) if attempt == ATTEMPTS => {
                tracing::warn!(
                    queue.name = queue.name(),
                    messages = receipts.len(),
                    %error,
                    "handled messages were not deleted: they come again"
                );
            }
            Err(_) => tokio::time::sleep(LINGER * 5 * attempt).await,
        }
    }
    for receipt in &receipts {
        hand.release(receipt);
    }
}
