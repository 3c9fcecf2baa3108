//! The relay's side: which rows are due to be sent, and the mark that they were.
//!
//! The mark is committed before the row is sent, with no transaction open while the queue is
//! asked. A row is due when it is the lowest undelivered one of its group, not dead, and
//!
//! - was never sent, or its send failed ([`take_back`]), or
//! - was sent longer ago than the back-off allows (the first time [`Pace::resend`], then doubling,
//!   at most [`MAX_BACK_OFF`]), or
//! - was sent before the queue that stands there now was made: the queue was lost, or
//! - was among the last that an earlier leader marked, and was not delivered within [`TAKE_OVER`]:
//!   that leader may have died between the mark and the send.
//!
//! A row sent twice has one effect, so a send too many only costs time. A backlog must not make
//! more of it, though: [`on_their_way`] tells a relay whether the queue holds a message for each
//! row that was sent, in which case nothing is missing and it may set a longer pace.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messages::outbox::{Destination, Pointer, VERSION};
use prometheus::{IntCounterVec, register_int_counter_vec};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::delivery::parse_kind;

/// The longest time between two sends of an undelivered row.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// How long a new leader gives the rows that its predecessor marked last.
pub const TAKE_OVER: Duration = Duration::from_secs(2);

/// What counts as marked last: more than one batch, for the queue may have been slow to take it.
const LAST: Duration = Duration::from_secs(1);

/// Most rows that are marked at once.
pub const BATCH: i64 = 100;

/// What decides when a row is due again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long the first send may take until it is repeated.
    pub resend: Duration,
    /// When the queue was made; what was sent before is lost.
    pub queue_created_at: DateTime<Utc>,
    /// Since when the rows of an earlier leader are in doubt: [`former_since`].
    pub former_since: Option<DateTime<Utc>>,
}

/// A row that was marked as sent and now has to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What stands in the message.
    pub pointer: Pointer,
    /// The id under which the queue may drop a repetition of this very send.
    pub deduplication_id: String,
}

/// Whether any row of the destination still waits for its effect. One look at the index
/// `outbox_due`: cheap enough to be asked ten times a second.
///
/// # Errors
/// The database refused or was away.
pub async fn anything_undelivered(
    database: impl PgExecutor<'_>,
    destination: Destination,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
            SELECT FROM outbox
            WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NULL
        ) AS "exists!""#,
        destination.as_str(),
    )
    .fetch_one(database)
    .await
}

/// How many rows were sent and have no recorded effect yet. If the queue holds as many messages,
/// none is missing.
///
/// # Errors
/// The database refused or was away.
pub async fn on_their_way(
    database: impl PgExecutor<'_>,
    destination: Destination,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM outbox
        WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NULL
            AND sent_at IS NOT NULL"#,
        destination.as_str(),
    )
    .fetch_one(database)
    .await
}

/// Since when rows that earlier leaders marked may not have been sent; to be asked once, at the
/// beginning of the term with this token.
///
/// # Errors
/// The database refused or was away.
pub async fn former_since(
    database: impl PgExecutor<'_>,
    destination: Destination,
    token: i64,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT max(sent_at) - make_interval(secs => $3) FROM outbox
        WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NULL AND fence_token < $2",
        destination.as_str(),
        token,
        LAST.as_secs_f64(),
    )
    .fetch_one(database)
    .await
}

/// Marks up to [`BATCH`] due rows as sent by the leader with this token, oldest first. The caller
/// checks the token in the same transaction.
///
/// # Errors
/// The database refused or was away.
pub async fn mark(
    tx: &mut PgConnection,
    destination: Destination,
    token: i64,
    pace: Pace,
) -> Result<Vec<Marked>, sqlx::Error> {
    let rows = sqlx::query!(
        "WITH due AS (
            SELECT id FROM outbox candidate
            WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NULL
                AND (sent_at IS NULL
                    OR sent_at < $3
                    OR sent_at < clock_timestamp() - make_interval(secs => least(
                        $4 * 2 ^ least(greatest(sends - redriven_sends, 1) - 1, 16), $5))
                    OR (fence_token < $2
                        AND sent_at < clock_timestamp() - make_interval(secs => $6)
                        AND sent_at > $8))
                AND NOT EXISTS (
                    SELECT FROM outbox lower
                    WHERE lower.destination = candidate.destination
                        AND lower.group_id = candidate.group_id
                        AND lower.sequence < candidate.sequence
                        AND lower.delivered_at IS NULL)
            ORDER BY id LIMIT $7
            FOR UPDATE SKIP LOCKED
        )
        UPDATE outbox SET sends = sends + 1, sent_at = clock_timestamp(), fence_token = $2
        FROM due WHERE outbox.id = due.id
        RETURNING outbox.id, group_id, sequence, kind, sends, traceparent",
        destination.as_str(),
        token,
        pace.queue_created_at,
        pace.resend.as_secs_f64(),
        MAX_BACK_OFF.as_secs_f64(),
        TAKE_OVER.as_secs_f64(),
        BATCH,
        pace.former_since,
    )
    .fetch_all(tx)
    .await?;
    let mut marked = Vec::with_capacity(rows.len());
    for row in rows {
        marked.push(Marked {
            deduplication_id: format!("{}-{}", row.id, row.sends),
            pointer: Pointer {
                version: VERSION,
                row_id: row.id,
                group_id: row.group_id,
                sequence: row.sequence,
                kind: parse_kind(&row.kind)?,
                send: row.sends,
                traceparent: row.traceparent,
            },
        });
    }
    // The order in which rows were written, which UPDATE does not keep.
    marked.sort_unstable_by_key(|row| row.pointer.row_id);
    Ok(marked)
}

/// Makes rows due again whose send failed, unless they were sent again since. The caller checks
/// the token in the same transaction.
///
/// # Errors
/// The database refused or was away.
pub async fn take_back(tx: &mut PgConnection, failed: &[&Marked]) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = failed.iter().map(|row| row.pointer.row_id).collect();
    let sends: Vec<i32> = failed.iter().map(|row| row.pointer.send).collect();
    let taken_back = sqlx::query!(
        "UPDATE outbox SET sent_at = NULL
        FROM unnest($1::uuid[], $2::int[]) AS failed (id, send)
        WHERE outbox.id = failed.id AND outbox.sends = failed.send AND delivered_at IS NULL",
        &ids,
        &sends,
    )
    .execute(tx)
    .await?;
    Ok(taken_back.rows_affected())
}

/// Shows the counts of a destination before there is anything to count.
pub fn show(destination: Destination) {
    for result in ["first", "again", "failed"] {
        SENDS.with_label_values(&[destination.as_str(), result]);
    }
}

/// Counts a row that was sent, or could not be.
pub fn observe(destination: Destination, row: &Marked, sent: bool) {
    let result = match (sent, row.pointer.send) {
        (false, _) => "failed",
        (true, 1) => "first",
        (true, _) => "again",
    };
    SENDS
        .with_label_values(&[destination.as_str(), result])
        .inc();
}

static SENDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "outbox_sends_total",
        "Outbox rows handed to the queue: for the first time, again, or in vain.",
        &["destination", "result"]
    )
    .expect("metric names are unique");
    metric
});
