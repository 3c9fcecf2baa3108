//! The table: its key, its indexes, its time to live. Made at start where it is missing.
//!
//! One table holds two kinds of items, told apart by the prefix of the partition key `pk`:
//! `event#<id>`, an event document, and `key#<account>#<operation>#<key>`, an `Idempotency-Key`
//! with its answer. Both carry `expires_at`, by which DynamoDB deletes them itself: keys after a
//! day, events some days after they began.
//!
//! | index | partition | sort | serves |
//! |---|---|---|---|
//! | `by_city` | `city_key` | `starts_key` | events on sale in a city by date |
//! | `on_sale` | `on_sale` | `starts_key` | all events on sale by date |
//! | `by_organiser` | `organiser_id` | `pk` | an organiser's own, newest first (ids grow with time) |
//!
//! `on_sale` has one partition on purpose. A partition takes 1,000 writes and gives 3,000 reads a
//! second; events are published and changed a few times a second at most, and lists are read
//! through a cache at one load a second and replica. Spreading the events over more partitions
//! would make every page a merge of several queries. Should the day come, the month of the start
//! is the partition to take: a range of dates then still touches few of them, in order.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::item::SUMMARY;

/// Index of events on sale by city and start.
pub const BY_CITY: &str = "by_city";
/// Index of all events on sale by start.
pub const ON_SALE: &str = "on_sale";
/// Index of all events of an organiser.
pub const BY_ORGANISER: &str = "by_organiser";

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// How long one attempt may take, the connection included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_millis(100);
/// How long an operation may take: two attempts that are not answered and the pause between them. It
/// is shorter than a load into a cache, and so than a read, may take; what writes adds up its own.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(1_100);

/// A client of DynamoDB at `endpoint`. Each attempt is bounded, and so is the whole operation;
/// the SDK repeats what may be repeated within that.
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws::http_client())
        .region(aws::region())
        .credentials_provider(aws::credentials())
        .endpoint_url(endpoint)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(LONGEST_BACKOFF / 2)
                .with_max_backoff(LONGEST_BACKOFF),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
        .build();
    Client::from_conf(config)
}

/// Makes the table where it is missing and waits until it can be used. Replicas may do so at the
/// same time: one makes it, the others find it.
///
/// # Errors
/// DynamoDB does not answer, or the table is not ready yet: try again.
pub async fn make(client: &Client, name: &str) -> anyhow::Result<()> {
    let described = client.describe_table().table_name(name).send().await;
    let table = match described {
        Ok(described) => described.table,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_resource_not_found_exception()) =>
        {
            create(client, name).await?;
            anyhow::bail!("the table was just made");
        }
        Err(error) => return Err(error.into()),
    };
    let status = table.and_then(|table| table.table_status);
    anyhow::ensure!(
        status == Some(TableStatus::Active),
        "the table is {status:?}"
    );
    live_for_a_time(client, name).await
}

async fn create(client: &Client, name: &str) -> anyhow::Result<()> {
    let made = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key("pk", None)?))
        .set_attribute_definitions(Some(
            ["pk", "organiser_id", "city_key", "on_sale", "starts_key"]
                .into_iter()
                .map(attribute)
                .collect::<Result<_, _>>()?,
        ))
        .global_secondary_indexes(index(BY_CITY, "city_key", "starts_key")?)
        .global_secondary_indexes(index(ON_SALE, "on_sale", "starts_key")?)
        .global_secondary_indexes(index(BY_ORGANISER, "organiser_id", "pk")?)
        .send()
        .await;
    match made {
        Ok(_) => tracing::info!(table = name, "the table was made"),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_resource_in_use_exception()) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn live_for_a_time(client: &Client, name: &str) -> anyhow::Result<()> {
    let described = client
        .describe_time_to_live()
        .table_name(name)
        .send()
        .await?;
    let status = described
        .time_to_live_description
        .and_then(|ttl| ttl.time_to_live_status);
    if matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    ) {
        return Ok(());
    }
    let wish = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name("expires_at")
        .build()?;
    // Where another replica was faster this is refused, and the next try finds it enabled.
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(wish)
        .send()
        .await?;
    Ok(())
}

type BuildError = aws_sdk_dynamodb::error::BuildError;

fn attribute(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
}

fn key(partition: &str, sort: Option<&str>) -> Result<Vec<KeySchemaElement>, BuildError> {
    [(Some(partition), KeyType::Hash), (sort, KeyType::Range)]
        .into_iter()
        .filter_map(|(name, kind)| Some((name?, kind)))
        .map(|(name, kind)| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
        })
        .collect()
}

fn index(name: &str, partition: &str, sort: &str) -> Result<GlobalSecondaryIndex, BuildError> {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key(partition, Some(sort))?))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(SUMMARY.map(str::to_owned).to_vec()))
                .build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_is_not_answered_leaves_time_for_another() {
        assert!(CONNECT_TIMEOUT < ATTEMPT_TIMEOUT);
        assert!(2 * ATTEMPT_TIMEOUT + LONGEST_BACKOFF <= OPERATION_TIMEOUT);
    }
}
