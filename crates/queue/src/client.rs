//! The SDK's client with limits on everything.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::BehaviorVersion;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;

/// How long one call may take, all attempts together. A long poll may take its wait in addition.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// The longest wait that SQS allows a long poll.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(20);

/// A client for the queues at `endpoint`. An emulator takes any credentials; nothing is looked up
/// in the environment, and nothing is connected before the first call.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(LONGEST_POLL + Duration::from_secs(3))
        .operation_attempt_timeout(LONGEST_POLL + Duration::from_secs(3))
        .operation_timeout(LONGEST_POLL + CALL_LIMIT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500));
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws::http_client())
        .region(aws::region())
        .credentials_provider(aws::credentials())
        .endpoint_url(endpoint)
        .timeout_config(timeouts)
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}
