//! Reading a dead-letter queue from its beginning to its end without emptying it.
//!
//! SQS has no way to look at a message but to receive it, which hides it for a while. So letters
//! are received until none is left, and then put back by making them visible again. While one
//! process looks another finds the queue empty; it looks again.

use std::collections::HashSet;
use std::time::Duration;

use messages::outbox::{Pointer, VERSION};
use queue::{Queue, Received};

/// So many letters are enough for one look.
pub const MOST: usize = 1000;

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub message: Received,
    /// The row it points at; `None` where the body cannot be read.
    pub pointer: Option<Pointer>,
}

/// Receives the letters of a dead-letter queue, up to [`MOST`] and the rest of the last ten, and
/// hides them for a while: by then they have to be put back or deleted, or they become visible by
/// themselves.
///
/// # Errors
/// The queue was away.
pub async fn peek(queue: &Queue, hidden_for: Duration) -> Result<Vec<Letter>, queue::Error> {
    let mut letters = Vec::new();
    let mut seen = HashSet::new();
    while letters.len() < MOST {
        let received = queue.receive(10, hidden_for, Duration::ZERO).await?;
        let before = letters.len();
        for message in received {
            if seen.insert(message.message_id.clone()) {
                letters.push(Letter {
                    pointer: read(&message.body),
                    message,
                });
            }
        }
        if letters.len() == before {
            break;
        }
    }
    Ok(letters)
}

/// Makes letters visible again.
///
/// # Errors
/// The queue was away; they become visible by themselves.
pub async fn put_back<'a>(
    queue: &Queue,
    letters: impl Iterator<Item = &'a Letter>,
) -> Result<(), queue::Error> {
    let visible_now: Vec<_> = letters
        .map(|letter| (letter.message.receipt.clone(), Duration::ZERO))
        .collect();
    queue.change_visibility(visible_now).await
}

fn read(body: &str) -> Option<Pointer> {
    serde_json::from_str(body)
        .ok()
        .filter(|pointer: &Pointer| pointer.version == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pointer_of_our_version_cannot_be_read() {
        assert!(read("").is_none());
        assert!(read("{}").is_none());
        let pointer = Pointer {
            version: VERSION + 1,
            row_id: uuid::Uuid::nil(),
            group_id: uuid::Uuid::nil(),
            sequence: 1,
            kind: messages::outbox::Kind::Charge,
            send: 1,
            traceparent: None,
        };
        assert!(read(&serde_json::to_string(&pointer).unwrap()).is_none());
        let known = Pointer {
            version: VERSION,
            ..pointer
        };
        assert_eq!(read(&serde_json::to_string(&known).unwrap()), Some(known));
    }
}
