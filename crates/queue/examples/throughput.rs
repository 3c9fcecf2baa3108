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
        let name: &'static str = if fifo {
            "throughput.fifo"
        } else {
            "throughput"
        };
        let mut make = client.create_queue().queue_name(name);
        if fifo {
            make = make.attributes(QueueAttributeName::FifoQueue, "true");
        }
        let url = make.send().await?.queue_url.ok_or("no url")?;
        let queue = Queue::new(client.clone(), name);
        for round in 1..=3 {
            fill(&queue, fifo).await?;
            let bare = rate(bare(&client, &url)).await?;
            fill(&queue, fifo).await?;
            let ours = rate(consumer(queue.clone())).await?;
            println!(
                "{name} round {round}: bare {bare:.0}/s, consumer {ours:.0}/s, ratio {:.2}",
                ours / bare
            );
        }
        client.delete_queue().queue_url(url).send().await?;
    }
    Ok(())
}

async fn rate(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let started = Instant::now();
    work.await?;
    let messages = f64::from(u32::try_from(MESSAGES)?);
    Ok(messages / started.elapsed().as_secs_f64())
}

async fn fill(queue: &Queue, fifo: bool) -> Result<()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let messages = (0..MESSAGES).map(|_| {
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
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
    Ok(())
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
    while all.counts().await?.in_flight > 0 {}
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
