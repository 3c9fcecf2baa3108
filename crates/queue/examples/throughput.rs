//! What a consumer costs beside the queue itself: messages a second of a [`queue::Consumer`] whose
//! handler does nothing, against a bare loop that receives and deletes, of the same concurrency on
//! the same queue.
//!
//! `SQS_ENDPOINT=http://localhost:4566 cargo run --release -p queue --example throughput`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName};
use queue::{Consumer, Options, Outcome, Outgoing, Queue};
use tokio_util::sync::CancellationToken;

const MESSAGES: usize = 2000;
const CONCURRENCY: usize = 20;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let client = queue::client(&std::env::var("SQS_ENDPOINT")?);
    for fifo in [false, true] {
        for round in 1..=4 {
            // Each has a queue of its own, for emulators slow down with what a queue has seen,
            // and each goes first in every other round.
            let (mut theirs, mut ours) = (0.0, 0.0);
            for first in [round % 2 == 0, round % 2 == 1] {
                let (queue, url) = filled(&client, fifo).await?;
                if first {
                    ours = rate(consumer(queue)).await?;
                } else {
                    theirs = rate(bare(&client, &url)).await?;
                }
                client.delete_queue().queue_url(url).send().await?;
            }
            let kind = if fifo { "FIFO" } else { "standard" };
            println!(
                "{kind}: bare {theirs:.0}/s, consumer {ours:.0}/s, ratio {:.2}",
                ours / theirs
            );
        }
    }
    Ok(())
}

async fn rate(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let started = Instant::now();
    work.await?;
    let messages = f64::from(u32::try_from(MESSAGES)?);
    Ok(messages / started.elapsed().as_secs_f64())
}

/// A new queue with all the messages, on a FIFO queue each in a group of its own.
async fn filled(client: &aws_sdk_sqs::Client, fifo: bool) -> Result<(Queue, String)> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let suffix = if fifo { ".fifo" } else { "" };
    let name = format!("throughput-{}-{number}{suffix}", std::process::id());
    let name: &'static str = Box::leak(name.into_boxed_str());
    let mut make = client.create_queue().queue_name(name);
    if fifo {
        make = make.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let url = make.send().await?.queue_url.ok_or("no url")?;
    let queue = Queue::new(client.clone(), name);
    let messages = (0..MESSAGES).map(|number| {
        let id = number.to_string();
        let group = fifo.then(|| id.clone());
        let body = format!("{{\"number\":{id}}}");
        Outgoing {
            id,
            body,
            deduplication_id: group.clone(),
            group,
        }
    });
    queue.send(messages.collect()).await?;
    Ok((queue, url))
}

async fn consumer(queue: Queue) -> Result<()> {
    let options = Options {
        concurrency: CONCURRENCY,
        visibility: Duration::from_secs(30),
        wait: Duration::from_secs(1),
        retry_after: |_| Duration::ZERO,
    };
    let (stop, done) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (all, stopping) = (queue.clone(), stop.clone());
    let running = Consumer::new(queue, options).run(stop, {
        let done = done.clone();
        move |_: serde_json::Value, _| {
            done.fetch_add(1, Ordering::Relaxed);
            async { Outcome::Done }
        }
    });
    let running = tokio::spawn(running);
    while done.load(Ordering::Relaxed) < MESSAGES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Deleted, too: as the bare loop has done when it ends.
    while all.counts().await?.in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stopping.cancel();
    tokio::spawn(running);
    Ok(())
}

async fn bare(client: &aws_sdk_sqs::Client, url: &str) -> Result<()> {
    let done = Arc::new(AtomicUsize::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENCY / 10 {
        let (client, url, done) = (client.clone(), url.to_owned(), done.clone());
        loops.spawn(async move {
            while done.load(Ordering::Relaxed) < MESSAGES {
                let receive = client
                    .receive_message()
                    .queue_url(&url)
                    .max_number_of_messages(10);
                let messages = receive.send().await?.messages.unwrap_or_default();
                let entries: Vec<_> = messages
                    .iter()
                    .enumerate()
                    .map(|(index, message)| {
                        DeleteMessageBatchRequestEntry::builder()
                            .id(index.to_string())
                            .receipt_handle(message.receipt_handle().unwrap_or_default())
                            .build()
                    })
                    .collect::<std::result::Result<_, _>>()?;
                if !entries.is_empty() {
                    let delete = client.delete_message_batch().queue_url(&url);
                    delete.set_entries(Some(entries)).send().await?;
                }
                done.fetch_add(messages.len(), Ordering::Relaxed);
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(())
}
