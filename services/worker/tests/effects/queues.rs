//! Queues of a test's own. `SQS_ENDPOINT` says where.

use messages::outbox::Pointer;
use queue::{Outgoing, Queue};
use uuid::Uuid;

pub struct Queues {
    pub live: Queue,
    pub dead: Queue,
}

impl Queues {
    pub async fn fifo() -> Self {
        Self::new(".fifo").await
    }

    pub async fn standard() -> Self {
        Self::new("").await
    }

    async fn new(suffix: &str) -> Self {
        let name = Uuid::now_v7();
        Self {
            live: made(format!("test-{name}{suffix}")).await,
            dead: made(format!("test-{name}-dead-letters{suffix}")).await,
        }
    }
}

async fn made(name: String) -> Queue {
    let endpoint = std::env::var("SQS_ENDPOINT").unwrap();
    let client = queue::client(&endpoint);
    let name: &'static str = Box::leak(name.into_boxed_str());
    let mut call = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        call = call.attributes("FifoQueue".into(), "true");
    }
    call.send().await.unwrap();
    Queue::new(client, name)
}

/// Puts pointers on a queue that has no groups, ten at most.
pub async fn put_all(queue: &Queue, pointers: &[Pointer]) {
    let message = |pointer: &Pointer| Outgoing {
        id: pointer.row_id.to_string(),
        body: serde_json::to_string(pointer).unwrap(),
        group: None,
        deduplication_id: None,
    };
    let sent = queue.send(pointers.iter().map(message).collect()).await;
    assert!(sent.unwrap().iter().all(|one| one.result.is_ok()));
}

/// Puts a message on a queue, of one group where there are groups.
pub async fn put(queue: &Queue, body: &str) {
    let message = Outgoing {
        id: "1".to_owned(),
        body: body.to_owned(),
        group: queue.is_fifo().then(|| "group".to_owned()),
        deduplication_id: queue.is_fifo().then(|| Uuid::now_v7().to_string()),
    };
    let sent = queue.send(vec![message]).await.unwrap();
    assert_eq!(sent[0].result, Ok(()));
}
