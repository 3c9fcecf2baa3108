//! The consumer's side: may this row take effect, and the mark that it did.
//!
//! A consumer first [`look`]s, without a lock, so that a stale message costs no call to anybody;
//! then does what needs no transaction; then, in the transaction of the effect, [`lock`]s the row,
//! which judges it again, and [`deliver`]s it. Consumers lock what the row is about before the row
//! itself.

use std::sync::LazyLock;

use messages::outbox::{Destination, Kind};
use prometheus::{HistogramVec, register_histogram_vec};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::group::{Facts, Stale, judge};

/// What a row says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
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
}

/// Whether the row may take effect, without a lock: true only for now.
///
/// # Errors
/// The database refused or was away.
pub async fn look(
    database: impl PgExecutor<'_>,
    id: Uuid,
) -> Result<Result<Row, Stale>, sqlx::Error> {
    let found = sqlx::query_as!(
        Found,
        r#"SELECT id, destination, group_id, sequence, kind,
            delivered_at IS NOT NULL AS "delivered!", dead_at IS NOT NULL AS "dead!",
            (SELECT min(lower.sequence) FROM outbox lower
             WHERE lower.destination = outbox.destination AND lower.group_id = outbox.group_id
                AND lower.delivered_at IS NULL) AS lowest_undelivered
        FROM outbox WHERE id = $1"#,
        id,
    )
    .fetch_optional(database)
    .await?;
    standing(found)
}

/// Whether the row may take effect, with the row locked until the transaction ends.
///
/// # Errors
/// The database refused or was away.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> Result<Result<Row, Stale>, sqlx::Error> {
    // The lock is taken by a statement of its own: the next one then sees what was committed
    // while this one waited.
    sqlx::query!("SELECT id FROM outbox WHERE id = $1 FOR UPDATE", id)
        .fetch_optional(&mut *tx)
        .await?;
    look(tx, id).await
}

/// Marks a row as delivered in the transaction of its effect.
///
/// # Errors
/// The database refused or was away; also where the row was delivered before, which [`lock`]
/// rules out.
pub async fn deliver(tx: &mut PgConnection, row: &Row) -> Result<Delivered, sqlx::Error> {
    let seconds = sqlx::query_scalar!(
        r#"UPDATE outbox SET delivered_at = clock_timestamp()
        WHERE id = $1 AND delivered_at IS NULL
        RETURNING extract(epoch FROM delivered_at - created_at)::float8 AS "seconds!""#,
        row.id,
    )
    .fetch_one(tx)
    .await?;
    Ok(Delivered {
        destination: row.destination,
        seconds,
    })
}

/// A delivery that is part of a transaction.
#[derive(Clone, Copy, Debug)]
#[must_use = "call `observe` once the transaction is committed"]
pub struct Delivered {
    destination: Destination,
    seconds: f64,
}

impl Delivered {
    /// Counts the delivery, once its transaction is committed.
    pub fn observe(self) {
        SECONDS
            .with_label_values(&[self.destination.as_str()])
            .observe(self.seconds);
    }
}

struct Found {
    id: Uuid,
    destination: String,
    group_id: Uuid,
    sequence: i64,
    kind: String,
    delivered: bool,
    dead: bool,
    lowest_undelivered: Option<i64>,
}

fn standing(found: Option<Found>) -> Result<Result<Row, Stale>, sqlx::Error> {
    let Some(found) = found else {
        return Ok(Err(Stale::Gone));
    };
    let facts = Facts {
        sequence: found.sequence,
        delivered: found.delivered,
        dead: found.dead,
        lowest_undelivered: found.lowest_undelivered,
    };
    let row = Row {
        id: found.id,
        destination: parse_destination(&found.destination)?,
        group: found.group_id,
        sequence: found.sequence,
        kind: parse_kind(&found.kind)?,
    };
    Ok(judge(facts).map(|()| row))
}

pub(crate) fn parse_destination(text: &str) -> Result<Destination, sqlx::Error> {
    text.parse()
        .map_err(|error: String| sqlx::Error::Decode(error.into()))
}

pub(crate) fn parse_kind(text: &str) -> Result<Kind, sqlx::Error> {
    [Kind::Charge, Kind::Refund, Kind::RenderTickets]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| sqlx::Error::Decode(format!("no such kind of row: {text}").into()))
}

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "outbox_delivery_seconds",
        "Time from the commit of an outbox row to its recorded effect, by destination.",
        &["destination"],
        vec![0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0]
    )
    .expect("metric names are unique");
    metric
});
