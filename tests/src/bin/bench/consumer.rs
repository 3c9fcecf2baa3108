//! One consumer with an empty handler against a bare loop of receive and delete, with the same
//! concurrency on the same LocalStack.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use queue::{Consumer, Options, Outcome, Outgoing, Queue};
use tokio_util::sync::CancellationToken;

use crate::table::Row;

/// Messages consumed in each of the two runs.
const MESSAGES: usize = 3_000;
/// Messages in hand at once, in both runs.
const CONCURRENCY: usize = 10;
/// Nothing here may take longer.
const BOUND: Duration = Duration::from_secs(120);

/// Consumes the same number of messages twice and compares.
pub async fn measure(endpoint: &str) -> anyhow::Result<Row> {
    let client = queue::client(endpoint);
    let name: &'static str = Box::leak(format!("bench-{}", uuid::Uuid::now_v7()).into_boxed_str());
    client
        .create_queue()
        .queue_name(name)
        .send()
        .await
        .context("the queue could not be made")?;
    let queue = Queue::new(client.clone(), name);
    // Alternate, so that neither run has the quieter machine to itself.
    let (mut bare, mut ours) = (0.0, 0.0);
    for _ in 0..2 {
        fill(&queue).await?;
        bare += tokio::time::timeout(BOUND, receive_and_delete(&queue)).await??;
        fill(&queue).await?;
        ours += tokio::time::timeout(BOUND, consume(&queue)).await??;
    }
    let (bare, ours) = (bare / 2.0, ours / 2.0);
    Ok(Row::ratio(
        "messages consumed a second, one worker, empty handler",
        ours,
        "bare receive-and-delete loop",
        bare,
        0.9,
    ))
}

async fn fill(queue: &Queue) -> anyhow::Result<()> {
    let batch = (0..MESSAGES)
        .map(|number| Outgoing {
            id: number.to_string(),
            body: number.to_string(),
            group: None,
            deduplication_id: None,
        })
        .collect();
    for sent in queue.send(batch).await? {
        sent.result.map_err(|error| anyhow::anyhow!(error))?;
    }
    Ok(())
}

/// Messages a second of the obvious alternative.
async fn receive_and_delete(queue: &Queue) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut done = 0;
    while done < MESSAGES {
        let received = queue
            .receive(10, Duration::from_secs(30), Duration::from_secs(1))
            .await?;
        done += received.len();
        let receipts = received
            .into_iter()
            .map(|message| message.receipt)
            .collect();
        queue.delete(receipts).await?;
    }
    Ok(MESSAGES as f64 / started.elapsed().as_secs_f64())
}

/// Messages a second of our consumer.
async fn consume(queue: &Queue) -> anyhow::Result<f64> {
    let started = Instant::now();
    let stop = CancellationToken::new();
    let done = Arc::new(AtomicUsize::new(0));
    let options = Options {
        concurrency: CONCURRENCY,
        visibility: Duration::from_secs(30),
        wait: Duration::from_secs(1),
        retry_after: |_| Duration::from_secs(1),
    };
    let counted = stop.clone();
    Consumer::new(queue.clone(), options)
        .run(stop, move |_: u64, _| {
            let (done, stop) = (done.clone(), counted.clone());
            async move {
                if done.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
                    stop.cancel();
                }
                Outcome::Done
            }
        })
        .await;
    Ok(MESSAGES as f64 / started.elapsed().as_secs_f64())
}
