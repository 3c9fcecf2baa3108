//! Messages as they go onto a queue and come off it.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Names the message in the answer; not sent.
    pub id: String,
    /// The body.
    pub body: String,
    /// The group, on a FIFO queue.
    pub group: Option<String>,
    /// Two messages with the same one within five minutes are one, on a FIFO queue.
    pub deduplication_id: Option<String>,
}

/// What became of a message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// [`Outgoing::id`].
    pub id: String,
    /// Whether the queue has it; if not, why. After a lost answer it may have it all the same.
    pub result: Result<(), String>,
}

/// A message that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// [`Received::receipt`].
    pub receipt: String,
    /// Why, as the queue says.
    pub reason: String,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The body.
    pub body: String,
    /// Needed to delete this delivery of the message or to change its visibility.
    pub receipt: String,
    /// How often the message was received, this time included.
    pub receive_count: u32,
    /// The group, on a FIFO queue.
    pub group: Option<String>,
    /// SQS's id of the message, the same at each delivery.
    pub message_id: String,
}

impl Received {
    /// `None` if it has no receipt, without which nothing can be done about it.
    pub(crate) fn read(message: Message) -> Option<Self> {
        let attribute = |name| {
            message
                .attributes
                .as_ref()
                .and_then(|attributes| attributes.get(&name))
        };
        let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1);
        let group = attribute(MessageSystemAttributeName::MessageGroupId).cloned();
        Some(Self {
            receive_count,
            group,
            body: message.body.unwrap_or_default(),
            receipt: message.receipt_handle?,
            message_id: message.message_id.unwrap_or_default(),
        })
    }
}
