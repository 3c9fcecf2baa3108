//! Dead rows: what ended in a dead-letter queue stands still until it is redriven.
//!
//! The mark in the row, not the letter in the queue, is the truth. A letter says which send of
//! which row it was, so that a letter from before a redrive does not make the row dead again.

use chrono::{DateTime, Utc};
use messages::outbox::{Destination, Kind};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::delivery::{parse_destination, parse_kind};

/// What a dead letter means for the row that it points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// The row is dead since now.
    Kills,
    /// The row was dead before.
    Known,
    /// The row was delivered or redriven since, or is gone: the letter is history.
    History,
}

/// Marks the row of a dead letter as dead and says what the letter means. The caller checks the
/// leader's token in the same transaction.
///
/// # Errors
/// The database refused or was away.
pub async fn mark(tx: &mut PgConnection, id: Uuid, send: i32) -> Result<Letter, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT dead_at IS NOT NULL AS "dead!" FROM outbox
        WHERE id = $1 AND delivered_at IS NULL AND redriven_sends < $2 FOR UPDATE"#,
        id,
        send,
    )
    .fetch_optional(&mut *tx)
    .await?;
    match row {
        None => Ok(Letter::History),
        Some(row) if row.dead => Ok(Letter::Known),
        Some(_) => {
            sqlx::query!(
                "UPDATE outbox SET dead_at = clock_timestamp() WHERE id = $1",
                id
            )
            .execute(tx)
            .await?;
            Ok(Letter::Kills)
        }
    }
}

/// Marks the rows that stand behind a dead one of their group as dead, too: no consumer waits for
/// them. The caller checks the leader's token in the same transaction.
///
/// It locks the dead rows. So where a redrive of one is under way it waits, and sees then that the row
/// is dead no more.
///
/// # Errors
/// The database refused or was away.
pub async fn mark_followers(
    tx: &mut PgConnection,
    destination: Destination,
) -> Result<u64, sqlx::Error> {
    let followers = sqlx::query!(
        "WITH dead AS (
            SELECT group_id, sequence FROM outbox
            WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NOT NULL
            FOR SHARE
        )
        UPDATE outbox SET dead_at = clock_timestamp()
        WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NULL AND EXISTS (
            SELECT FROM dead
            WHERE dead.group_id = outbox.group_id AND dead.sequence < outbox.sequence)",
        destination.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(followers.rows_affected())
}

/// Whether a row stands behind a dead one and is not marked yet.
///
/// # Errors
/// The database refused or was away.
pub async fn any_follower(
    database: impl PgExecutor<'_>,
    destination: Destination,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
            SELECT FROM outbox dead JOIN outbox ON outbox.destination = dead.destination
                AND outbox.group_id = dead.group_id AND outbox.sequence > dead.sequence
            WHERE dead.destination = $1 AND dead.delivered_at IS NULL AND dead.dead_at IS NOT NULL
                AND outbox.delivered_at IS NULL AND outbox.dead_at IS NULL
        ) AS "exists!""#,
        destination.as_str(),
    )
    .fetch_one(database)
    .await
}

/// How many rows of a destination are dead.
///
/// # Errors
/// The database refused or was away.
pub async fn count(
    database: impl PgExecutor<'_>,
    destination: Destination,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM outbox
        WHERE destination = $1 AND delivered_at IS NULL AND dead_at IS NOT NULL"#,
        destination.as_str(),
    )
    .fetch_one(database)
    .await
}

/// A dead row, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its id.
    pub id: Uuid,
    /// Where it goes.
    pub destination: Destination,
    /// What it is about.
    pub group: Uuid,
    /// Its number within the group.
    pub sequence: i64,
    /// What it asks for.
    pub kind: Kind,
    /// How often it was sent.
    pub sends: i32,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was marked.
    pub dead_at: DateTime<Utc>,
}

/// The dead rows, oldest first, at most `limit`; where one is `chosen`, by its own id or that of
/// its group, only those.
///
/// # Errors
/// The database refused or was away.
pub async fn list(
    database: impl PgExecutor<'_>,
    destination: Option<Destination>,
    chosen: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Dead>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id, destination, group_id, sequence, kind, sends, created_at, dead_at AS "dead_at!"
        FROM outbox
        WHERE delivered_at IS NULL AND dead_at IS NOT NULL AND destination = coalesce($1, destination)
            AND ($2::uuid IS NULL OR $2 IN (id, group_id))
        ORDER BY id LIMIT $3"#,
        destination.map(Destination::as_str),
        chosen,
        limit,
    )
    .fetch_all(database)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Dead {
                id: row.id,
                destination: parse_destination(&row.destination)?,
                group: row.group_id,
                sequence: row.sequence,
                kind: parse_kind(&row.kind)?,
                sends: row.sends,
                created_at: row.created_at,
                dead_at: row.dead_at,
            })
        })
        .collect()
}

/// Clears the dead marks of the whole group of a row; its lowest row is due at once. Returns how
/// many marks were cleared. A row that was marked meanwhile may be left: call it again until
/// [`list`] has none.
///
/// # Errors
/// The database refused or was away.
pub async fn redrive(database: impl PgExecutor<'_>, id: Uuid) -> Result<u64, sqlx::Error> {
    let redriven = sqlx::query!(
        "UPDATE outbox SET dead_at = NULL, sent_at = NULL, redriven_sends = outbox.sends
        FROM outbox chosen
        WHERE chosen.id = $1 AND outbox.destination = chosen.destination
            AND outbox.group_id = chosen.group_id
            AND outbox.delivered_at IS NULL AND outbox.dead_at IS NOT NULL",
        id,
    )
    .execute(database)
    .await?;
    Ok(redriven.rows_affected())
}
