//! Writing a row: in the transaction of what it follows from.

use messages::outbox::{Destination, Kind};
use sqlx::PgConnection;
use uuid::Uuid;

/// Writes a row for `group` in the caller's transaction and returns its id.
///
/// The number comes from the group's own counter, whose row stays locked until the transaction
/// ends: rows of one group become visible in the order of their numbers, without gaps.
///
/// # Errors
/// The database refused or was away.
pub async fn append(
    tx: &mut PgConnection,
    destination: Destination,
    group: Uuid,
    kind: Kind,
    traceparent: Option<&str>,
) -> Result<Uuid, sqlx::Error> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "WITH counter AS (
            INSERT INTO outbox_groups (destination, group_id, last_sequence) VALUES ($2, $3, 1)
            ON CONFLICT (destination, group_id)
                DO UPDATE SET last_sequence = outbox_groups.last_sequence + 1
            RETURNING last_sequence
        )
        INSERT INTO outbox (id, destination, group_id, sequence, kind, traceparent)
        SELECT $1, $2, $3, last_sequence, $4, $5 FROM counter",
        id,
        destination.as_str(),
        group,
        kind.as_str(),
        traceparent,
    )
    .execute(tx)
    .await?;
    Ok(id)
}
