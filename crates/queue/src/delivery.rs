//! What a consumer and its handler agree on: how it works, what the handler is told, what it says.

use std::time::Duration;

/// How a consumer works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most messages in hand, those included that wait for an earlier one of their group.
    pub concurrency: usize,
    /// For how long a message in hand is hidden from others; renewed each third of it.
    pub visibility: Duration,
    /// How long a receive waits for a message, at most 2 s: a stop waits for a receive under way,
    /// for a queue goes on answering one that was cut off, and hides what it gives to nobody.
    pub wait: Duration,
    /// How long a message that failed is hidden, given how often it was received.
    pub retry_after: fn(u32) -> Duration,
}

/// What a handler is told beside the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How often the message was received, this time included.
    pub receive_count: u32,
    /// SQS's id of the message, the same at each delivery.
    pub message_id: String,
    /// The group, on a FIFO queue.
    pub group: Option<String>,
}

/// What a handler says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect: delete it.
    Done,
    /// There was nothing to do (any more): delete it.
    Stale,
    /// It failed: let it come again after a while.
    Retry,
}
