//! One queue by its name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use chrono::{DateTime, Utc};

use crate::client::{CALL_LIMIT, LONGEST_POLL};
use crate::{Error, Outgoing, Received, Refused, Sent};

/// Most messages SQS takes in one call.
pub(crate) const BATCH: usize = 10;

/// A queue. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    name: &'static str,
    url: Arc<RwLock<Option<String>>>,
}

/// About how many messages a queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting to be received.
    pub visible: u64,
    /// Received and neither deleted nor visible again.
    pub in_flight: u64,
    /// Sent with a delay that has not passed.
    pub delayed: u64,
}

impl Queue {
    /// The queue called `name`. Its URL is looked up when it is first needed, and again after the
    /// queue was found missing.
    #[must_use]
    pub fn new(client: Client, name: &'static str) -> Self {
        Self {
            client,
            name,
            url: Arc::default(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it keeps the order within groups.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Sends messages, ten a call, in the order given, and says of each what became of it.
    ///
    /// # Errors
    /// The first call failed, so that most likely nothing was sent. Once some were sent, a failed
    /// call shows in the results of its messages and of those after it.
    pub async fn send(&self, batch: Vec<Outgoing>) -> Result<Vec<Sent>, Error> {
        let mut sent = Vec::with_capacity(batch.len());
        let mut failure: Option<String> = None;
        for chunk in batch.chunks(BATCH) {
            let refused = match &failure {
                Some(_) => HashMap::new(),
                None => match self.send_chunk(chunk).await {
                    Ok(refused) => refused,
                    Err(error) if sent.is_empty() => return Err(error),
                    Err(error) => {
                        failure = Some(error.to_string());
                        HashMap::new()
                    }
                },
            };
            sent.extend(chunk.iter().enumerate().map(|(index, message)| {
                let why = failure.clone().or_else(|| refused.get(&index).cloned());
                Sent {
                    id: message.id.clone(),
                    result: why.map_or(Ok(()), Err),
                }
            }));
        }
        Ok(sent)
    }

    /// Sends at most ten messages; the refused ones by index.
    async fn send_chunk(&self, chunk: &[Outgoing]) -> Result<HashMap<usize, String>, Error> {
        let entries = chunk
            .iter()
            .enumerate()
            .map(|(index, message)| {
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(&message.body)
                    .set_message_group_id(message.group.clone())
                    .set_message_deduplication_id(message.deduplication_id.clone())
                    .build()
                    .map_err(|error| Error::answer(self.name, "send", error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .call("send", CALL_LIMIT, |url| {
                let call = self.client.send_message_batch().queue_url(url);
                call.set_entries(Some(entries.clone())).send()
            })
            .await?;
        Ok(answer
            .failed()
            .iter()
            .filter_map(|failed| {
                let why = failed.message().unwrap_or(failed.code()).to_owned();
                failed.id().parse().ok().map(|index| (index, why))
            })
            .collect())
    }

    /// Receives at most `max` (up to ten) messages and hides them from others for `visibility`;
    /// waits up to `wait` (at most 20 s) for the first.
    ///
    /// # Errors
    /// The call failed or was not answered in time.
    pub async fn receive(
        &self,
        max: i32,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error> {
        let wait = wait.min(LONGEST_POLL);
        let answer = self
            .call("receive", wait + CALL_LIMIT, |url| {
                self.client
                    .receive_message()
                    .queue_url(url)
                    .max_number_of_messages(max.clamp(1, 10))
                    .visibility_timeout(whole_seconds(visibility))
                    .wait_time_seconds(whole_seconds(wait))
                    .message_system_attribute_names(
                        MessageSystemAttributeName::ApproximateReceiveCount,
                    )
                    .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId)
                    .send()
            })
            .await?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(Received::read)
            .collect())
    }

    /// Deletes messages by their receipts and says which were refused: a receipt whose time ran
    /// out may be good no longer, and its message comes again.
    ///
    /// # Errors
    /// A call failed or was not answered in time; what was asked before it is deleted.
    pub async fn delete(&self, receipts: Vec<String>) -> Result<Vec<Refused>, Error> {
        let mut refused = Vec::new();
        for chunk in receipts.chunks(BATCH) {
            let entries = chunk
                .iter()
                .enumerate()
                .map(|(index, receipt)| {
                    DeleteMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(receipt)
                        .build()
                        .map_err(|error| Error::answer(self.name, "delete", error.to_string()))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let answer = self
                .call("delete", CALL_LIMIT, |url| {
                    let call = self.client.delete_message_batch().queue_url(url);
                    call.set_entries(Some(entries.clone())).send()
                })
                .await?;
            self.note_refused("delete", answer.failed());
            refused.extend(answer.failed().iter().filter_map(|failed| {
                let index: usize = failed.id().parse().ok()?;
                Some(Refused {
                    receipt: chunk.get(index)?.clone(),
                    reason: failed.message().unwrap_or(failed.code()).to_owned(),
                })
            }));
        }
        Ok(refused)
    }

    /// Deletes every message, also those in somebody's hand, and makes the queue forget groups and
    /// deduplication ids. SQS takes up to a minute for it, in which it may delete what is sent
    /// meanwhile, and does it once a minute at most.
    ///
    /// # Errors
    /// The call failed or was not answered in time.
    pub async fn purge(&self) -> Result<(), Error> {
        self.call("purge", CALL_LIMIT, |url| {
            self.client.purge_queue().queue_url(url).send()
        })
        .await?;
        Ok(())
    }

    /// Hides each message from others for a time counted from now, in whole seconds, rounded up;
    /// for nothing: lets it come again at once.
    ///
    /// # Errors
    /// A call failed or was not answered in time.
    pub async fn change_visibility(&self, changes: Vec<(String, Duration)>) -> Result<(), Error> {
        for chunk in changes.chunks(BATCH) {
            let entries = chunk
                .iter()
                .enumerate()
                .map(|(index, (receipt, visibility))| {
                    ChangeMessageVisibilityBatchRequestEntry::builder()
                        .id(index.to_string())
                        .receipt_handle(receipt)
                        .visibility_timeout(whole_seconds(*visibility))
                        .build()
                        .map_err(|error| {
                            Error::answer(self.name, "change visibility", error.to_string())
                        })
                })
                .collect::<Result<Vec<_>, _>>()?;
            let answer = self
                .call("change visibility", CALL_LIMIT, |url| {
                    let call = self.client.change_message_visibility_batch().queue_url(url);
                    call.set_entries(Some(entries.clone())).send()
                })
                .await?;
            self.note_refused("change visibility", answer.failed());
        }
        Ok(())
    }

    /// About how many messages there are.
    ///
    /// # Errors
    /// The call failed or was not answered in time.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let [visible, in_flight, delayed] = self.attributes(names).await?;
        Ok(Counts {
            visible,
            in_flight,
            delayed,
        })
    }

    /// When the queue was made. Another time than before shows that it was lost and made anew.
    ///
    /// # Errors
    /// The call failed or was not answered in time.
    pub async fn created_at(&self) -> Result<DateTime<Utc>, Error> {
        let [seconds] = self
            .attributes([QueueAttributeName::CreatedTimestamp])
            .await?;
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(|| Error::answer(self.name, "look", "the queue's age makes no sense"))
    }

    async fn attributes<const N: usize>(
        &self,
        names: [QueueAttributeName; N],
    ) -> Result<[u64; N], Error> {
        let answer = self
            .call("look", CALL_LIMIT, |url| {
                let call = self.client.get_queue_attributes().queue_url(url);
                call.set_attribute_names(Some(names.to_vec())).send()
            })
            .await?;
        let mut values = [0; N];
        for (value, name) in values.iter_mut().zip(&names) {
            *value = answer
                .attributes()
                .and_then(|attributes| attributes.get(name))
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| {
                    Error::answer(self.name, "look", format!("no {name} in the answer"))
                })?;
        }
        Ok(values)
    }

    /// Calls with the queue's URL within `limit`. If the queue is missing its URL is looked up
    /// anew, and if there is one again the call is made once more.
    async fn call<T, E, R, F, Fut>(
        &self,
        operation: &'static str,
        limit: Duration,
        call: F,
    ) -> Result<T, Error>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
        F: Fn(String) -> Fut,
        Fut: Future<Output = Result<T, SdkError<E, R>>>,
    {
        let attempt = async || {
            let url = self.url().await?;
            call(url)
                .await
                .map_err(|error| Error::of(self.name, operation, &error))
        };
        let twice = async {
            match attempt().await {
                Err(Error::Missing { .. }) => {
                    *self.url.write().unwrap_or_else(PoisonError::into_inner) = None;
                    attempt().await
                }
                answered => answered,
            }
        };
        tokio::time::timeout(limit, twice)
            .await
            .unwrap_or(Err(Error::NoAnswer {
                queue: self.name,
                operation,
                limit,
            }))
    }

    async fn url(&self) -> Result<String, Error> {
        let known = self
            .url
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(url) = known {
            return Ok(url);
        }
        let answer = self
            .client
            .get_queue_url()
            .queue_name(self.name)
            .send()
            .await;
        let answer = answer.map_err(|error| Error::of(self.name, "look up", &error))?;
        let url = answer
            .queue_url
            .ok_or(Error::Missing { queue: self.name })?;
        *self.url.write().unwrap_or_else(PoisonError::into_inner) = Some(url.clone());
        Ok(url)
    }

    fn note_refused(
        &self,
        operation: &'static str,
        refused: &[aws_sdk_sqs::types::BatchResultErrorEntry],
    ) {
        for entry in refused {
            tracing::debug!(
                queue.name = self.name,
                queue.operation = operation,
                error = entry.message().unwrap_or(entry.code()),
                "refused for one message"
            );
        }
    }
}

/// SQS counts in whole seconds; rounded up, so that a short back-off does not become none.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_whole_seconds_and_a_short_one_does_not_vanish() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
