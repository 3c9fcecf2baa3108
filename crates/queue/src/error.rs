//! Why a queue could not be asked.

use std::time::Duration;

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// Why a queue could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no queue of that name (yet, or any more).
    #[error("queue {queue} does not exist")]
    Missing {
        /// The queue's name.
        queue: &'static str,
    },
    /// No answer within the limit.
    #[error("{operation} on queue {queue} was not answered within {} ms", .limit.as_millis())]
    NoAnswer {
        /// The queue's name.
        queue: &'static str,
        /// What was asked.
        operation: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The call failed or was refused.
    #[error("{operation} on queue {queue} failed: {reason}")]
    Failed {
        /// The queue's name.
        queue: &'static str,
        /// What was asked.
        operation: &'static str,
        /// What the SDK says.
        reason: String,
    },
}

impl Error {
    pub(crate) fn of<E, R>(
        queue: &'static str,
        operation: &'static str,
        error: &SdkError<E, R>,
    ) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        if code.is_some_and(says_missing) {
            return Self::Missing { queue };
        }
        Self::Failed {
            queue,
            operation,
            reason: DisplayErrorContext(error).to_string(),
        }
    }

    /// A failure that the answer itself shows.
    pub(crate) fn answer(
        queue: &'static str,
        operation: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        Self::Failed {
            queue,
            operation,
            reason: reason.into(),
        }
    }
}

/// The error has one name in SQS's JSON protocol and another in its older query protocol, which
/// answers of the JSON protocol may carry too.
fn says_missing(code: &str) -> bool {
    code.ends_with("QueueDoesNotExist") || code.ends_with("NonExistentQueue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_missing_queue_are_known() {
        assert!(says_missing("QueueDoesNotExist"));
        assert!(says_missing("AWS.SimpleQueueService.NonExistentQueue"));
        assert!(!says_missing("ReceiptHandleIsInvalid"));
    }
}
