//! One consumer with an empty handler against a bare loop of receive and delete, of the same
//! concurrency on the same LocalStack.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName};
use queue::{Consumer, Options, Outcome, Outgoing, Queue};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::processors::Processors;
use crate::stack::Stack;
use crate::table::{Rates, median};

/// Messages consumed in each run.
const MESSAGES: usize = 3_000;
/// Messages consumed in the first run of each, which is not counted.
const WARM_UP: usize = 1_000;
/// Messages in hand at once.
const CONCURRENCY: usize = 20;
/// The most that SQS gives at once: there is a loop for each so many of the concurrency.
const BATCH: usize = 10;
/// Runs of each, in turns, and each goes first in every other one.
const TURNS: usize = 12;
/// How often it is looked whether all is deleted, too.
const LOOK: Duration = Duration::from_millis(1);

/// A kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In no order.
    Standard,
    /// In order within a group; here each message is a group.
    Fifo,
}

/// Consumes the same number of messages both ways and compares.
///
/// # Errors
/// The queue did not answer as it should.
pub async fn measure(stack: &Stack, kind: Kind) -> anyhow::Result<Rates> {
    let client = queue::client(&crate::setting("SQS_ENDPOINT")?);
    for ours in [true, false] {
        let queue = filled(&client, kind, WARM_UP).await?;
        once(&client, queue, WARM_UP, ours).await?;
    }
    let (mut consumer, mut bare_loop) = (Vec::new(), Vec::new());
    let mut processors = Processors::default();
    for turn in 0..TURNS {
        for ours in [turn % 2 == 0, turn % 2 == 1] {
            let queue = filled(&client, kind, MESSAGES).await?;
            let before = Processors::read(stack).await?;
            let rate = once(&client, queue, MESSAGES, ours).await?;
            if ours {
                consumer.push(rate);
                processors.add_between(&before, &Processors::read(stack).await?);
            } else {
                bare_loop.push(rate);
            }
        }
    }
    Ok(Rates {
        ours: median(consumer),
        theirs: median(bare_loop),
        processors,
    })
}

/// Messages a second, on a queue of their own: an emulator slows down with what a queue has seen.
async fn once(
    client: &Client,
    (queue, url): (Queue, String),
    messages: usize,
    ours: bool,
) -> anyhow::Result<f64> {
    let took = if ours {
        consume(queue, messages).await?
    } else {
        receive_and_delete(client, &url, messages).await?
    };
    client.delete_queue().queue_url(url).send().await?;
    Ok(messages as f64 / took.as_secs_f64())
}

/// A new queue with all the messages on it.
async fn filled(client: &Client, kind: Kind, messages: usize) -> anyhow::Result<(Queue, String)> {
    let fifo = kind == Kind::Fifo;
    let suffix = if fifo { ".fifo" } else { "" };
    let name = format!("bench-{}{suffix}", uuid::Uuid::now_v7());
    let name: &'static str = Box::leak(name.into_boxed_str());
    let mut make = client.create_queue().queue_name(name);
    if fifo {
        make = make.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let made = make.send().await.context("the queue could not be made")?;
    let url = made.queue_url.context("a queue without a URL")?;
    let queue = Queue::new(client.clone(), name);
    let batch = (0..messages).map(|number| {
        let id = number.to_string();
        let group = fifo.then(|| id.clone());
        Outgoing {
            body: id.clone(),
            id,
            deduplication_id: group.clone(),
            group,
        }
    });
    for sent in queue.send(batch.collect()).await? {
        sent.result.map_err(|error| anyhow::anyhow!(error))?;
    }
    Ok((queue, url))
}

/// How long our consumer takes to handle and delete all.
async fn consume(queue: Queue, messages: usize) -> anyhow::Result<Duration> {
    let options = Options {
        concurrency: CONCURRENCY,
        visibility: Duration::from_secs(30),
        wait: Duration::from_secs(1),
        retry_after: |_| Duration::from_secs(1),
    };
    let stop = CancellationToken::new();
    let done = AtomicUsize::new(0);
    let all_done = Arc::new(Notify::new());
    let tell = all_done.clone();
    let started = Instant::now();
    let running = Consumer::new(queue.clone(), options).run(stop.clone(), move |_: u64, _| {
        if done.fetch_add(1, Ordering::Relaxed) + 1 == messages {
            tell.notify_one();
        }
        async { Outcome::Done }
    });
    let running = tokio::spawn(running);
    all_done.notified().await;
    // Deleted, too, as after the bare loop.
    while queue.counts().await?.in_flight > 0 {
        tokio::time::sleep(LOOK).await;
    }
    let took = started.elapsed();
    // The stop waits for the long poll that is under way, which is nobody's cost.
    stop.cancel();
    running.await?;
    Ok(took)
}

/// How long the obvious alternative takes, written with nothing but the SDK.
async fn receive_and_delete(
    client: &Client,
    url: &str,
    messages: usize,
) -> anyhow::Result<Duration> {
    let done = Arc::new(AtomicUsize::new(0));
    let mut loops = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CONCURRENCY / BATCH {
        let (client, url, done) = (client.clone(), url.to_owned(), done.clone());
        loops.spawn(async move {
            while done.load(Ordering::Relaxed) < messages {
                let receive = client
                    .receive_message()
                    .queue_url(&url)
                    .max_number_of_messages(BATCH as i32);
                let received = receive.send().await?.messages.unwrap_or_default();
                let entries = received.iter().enumerate().map(|(index, message)| {
                    DeleteMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(message.receipt_handle().unwrap_or_default())
                        .build()
                });
                let entries = entries.collect::<Result<Vec<_>, _>>()?;
                if !entries.is_empty() {
                    let delete = client.delete_message_batch().queue_url(&url);
                    delete.set_entries(Some(entries)).send().await?;
                }
                done.fetch_add(received.len(), Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(started.elapsed())
}
