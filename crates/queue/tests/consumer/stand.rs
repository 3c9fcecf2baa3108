//! A queue of its own for each test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use queue::{Counts, Options, Outgoing, Queue};
use tokio::time::Instant;

pub const SECOND: Duration = Duration::from_secs(1);

/// A test waits this many times as long as it should take: it must never fail because the machine was
/// busy.
pub const SLACK: u32 = 4;

pub const OPTIONS: Options = Options {
    concurrency: 10,
    visibility: Duration::from_secs(10),
    wait: Duration::from_secs(1),
    retry_after: |_| Duration::ZERO,
};

pub fn client() -> Client {
    let endpoint = std::env::var("SQS_ENDPOINT")
        .expect("SQS_ENDPOINT must say where the SQS to test against is, as a URL");
    queue::client(&endpoint)
}

pub struct Stand {
    pub client: Client,
    pub queue: Queue,
    pub dead_letters: Queue,
}

impl Stand {
    /// A queue with a dead-letter queue that takes a message after five receives.
    pub async fn fifo() -> Self {
        Self::new(".fifo").await
    }

    /// The same, without order.
    pub async fn standard() -> Self {
        Self::new("").await
    }

    async fn new(suffix: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = chrono::Utc::now().timestamp_micros();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{now}-{}-{number}", std::process::id());
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let queue = leak(format!("{name}{suffix}"));
        let dead_letters = leak(format!("{name}-dead-letters{suffix}"));
        let client = client();
        make(&client, dead_letters, None).await;
        make(&client, queue, Some(dead_letters)).await;
        Self {
            queue: Queue::new(client.clone(), queue),
            dead_letters: Queue::new(client.clone(), dead_letters),
            client,
        }
    }

    /// The queue is lost with all that it has.
    pub async fn lose(&self) {
        let url = url(&self.client, self.queue.name()).await;
        self.client
            .delete_queue()
            .queue_url(url)
            .send()
            .await
            .unwrap();
    }

    pub async fn make_again(&self) {
        make(
            &self.client,
            self.queue.name(),
            Some(self.dead_letters.name()),
        )
        .await;
    }

    /// Sends numbers as bodies, each to the group given with it.
    pub async fn send(&self, messages: impl IntoIterator<Item = (u32, Option<u32>)>) {
        let batch = messages
            .into_iter()
            .map(|(number, group)| outgoing(&number.to_string(), group));
        let sent = self.queue.send(batch.collect()).await.unwrap();
        assert!(sent.iter().all(|sent| sent.result.is_ok()), "{sent:?}");
    }

    /// Waits until the queue has no message at all, in flight ones included.
    pub async fn is_empty(&self, within: Duration) {
        counted(&self.queue, within, |counts| counts == Counts::default()).await;
    }
}

pub fn outgoing(body: &str, group: Option<u32>) -> Outgoing {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Outgoing {
        id: body.to_owned(),
        body: body.to_owned(),
        group: group.map(|group| group.to_string()),
        deduplication_id: group.map(|_| NEXT.fetch_add(1, Ordering::Relaxed).to_string()),
    }
}

/// Waits until the queue's counts are as wanted. `within` is how long that should take; the deadline is
/// generous.
pub async fn counted(queue: &Queue, within: Duration, wanted: impl Fn(Counts) -> bool) {
    let within = within * SLACK;
    let until = Instant::now() + within;
    loop {
        let counts = queue.counts().await.unwrap();
        if wanted(counts) {
            return;
        }
        assert!(Instant::now() < until, "after {within:?} {counts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn make(client: &Client, name: &str, dead_letters: Option<&str>) {
    let mut call = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        call = call.attributes(QueueAttributeName::FifoQueue, "true");
    }
    if let Some(dead_letters) = dead_letters {
        let url = url(client, dead_letters).await;
        let answer = client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap();
        let arn = &answer.attributes().unwrap()[&QueueAttributeName::QueueArn];
        let policy = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 5 });
        call = call.attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    call.send().await.unwrap();
}

async fn url(client: &Client, name: &str) -> String {
    let answer = client
        .get_queue_url()
        .queue_name(name)
        .send()
        .await
        .unwrap();
    answer.queue_url.unwrap()
}
