//! `Idempotency-Key` of writes to the table: the key's item commits in the same transaction as
//! what the request creates, with the request's hash and the answer.
//!
//! The rules are those of the crate `idempotency`: the same key and request get the first answer
//! again, the same key with another request is refused, a failure stores nothing, a key is kept
//! for a day. (That crate's own table is Postgres'.)

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::StatusCode;
use chrono::Utc;
use idempotency::{Answer, KEEP, Operation, Repeated};
use problem::Problem;

use crate::events::Events;
use crate::item::{self, Item, number, text};

fn pk(operation: &Operation<'_>) -> String {
    format!(
        "key#{}#{}#{}",
        operation.account_id,
        operation.name,
        operation.key.as_str()
    )
}

/// The item that keeps `answer` for `operation`.
pub fn item(operation: &Operation<'_>, answer: &Answer) -> Item {
    let (status, location, body) = answer.parts();
    let expires_at = Utc::now()
        .timestamp()
        .saturating_add_unsigned(KEEP.as_secs());
    let mut item = Item::from([
        ("pk".to_owned(), text(pk(operation))),
        (
            "request_hash".to_owned(),
            AttributeValue::B(Blob::new(operation.request_hash)),
        ),
        ("status".to_owned(), number(status.as_u16())),
        ("body".to_owned(), AttributeValue::B(Blob::new(body))),
        ("expires_at".to_owned(), number(expires_at)),
    ]);
    if let Some(location) = location {
        item.insert("location".to_owned(), text(location));
    }
    item
}

/// The answer that was given to `operation` before, if it was.
///
/// # Errors
/// 422 where the key came with another request.
pub async fn find(events: &Events, operation: &Operation<'_>) -> Result<Option<Repeated>, Problem> {
    let Some(found) = events.item(pk(operation)).await? else {
        return Ok(None);
    };
    if item::parsed::<i64>(&found, "expires_at")? < Utc::now().timestamp() {
        return Ok(None);
    }
    if bytes(&found, "request_hash")? != operation.request_hash {
        return Err(idempotency::reused());
    }
    let status = StatusCode::from_u16(item::parsed(&found, "status")?);
    let location = item::string(&found, "location").ok().map(str::to_owned);
    let body = bytes(&found, "body")?.to_owned();
    let status = status.map_err(Problem::internal)?;
    Ok(Some(Repeated(Answer::from_parts(status, location, body))))
}

fn bytes<'a>(item: &'a Item, name: &'static str) -> Result<&'a [u8], Problem> {
    match item.get(name) {
        Some(AttributeValue::B(blob)) => Ok(blob.as_ref()),
        _ => Err(item::unreadable(name)),
    }
}

/// Whether a transaction was refused because the key is taken, or another transaction that wants
/// it is under way.
pub fn is_taken(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return false;
    };
    cancelled.cancellation_reasons().iter().any(|reason| {
        matches!(
            reason.code(),
            Some("ConditionalCheckFailed" | "TransactionConflict")
        )
    })
}
