//! The books: a SQLite file with one writer and a few readers.
//!
//! What this promises: what was answered is on disk (write-ahead log, synced at every commit);
//! a key has one movement; ids grow in the order of commits. What it leaves to others: what a
//! sandbox number means.

mod reading;

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use messages::bank::{Kind, Movement, Outcome};
use problem::Problem;
use sqlx::SqlitePool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use uuid::Uuid;

use crate::metrics;

/// How long a request waits for its turn at the books before it is refused with 503.
const TURN: Duration = Duration::from_secs(3);

/// The books, open.
#[derive(Clone, Debug)]
pub struct Books {
    /// One connection, so that writes stand in line here instead of meeting a locked file.
    writer: SqlitePool,
    readers: SqlitePool,
}

/// What a request that moves money asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: String,
    pub(crate) reference: Uuid,
    /// The card of a charge or the account of a payout.
    pub(crate) number: Option<String>,
    /// The charge that a refund gives back.
    pub(crate) charge_id: Option<Uuid>,
}

/// A movement that stands in the books.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) movement: Movement,
    /// Whether this request wrote it.
    pub(crate) first: bool,
}

impl Books {
    /// Opens the books in `file`, and makes them where there are none.
    ///
    /// # Errors
    /// The file cannot be opened, or is not ours.
    pub async fn open(file: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(TURN);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(TURN)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let mut migrations = sqlx::migrate!();
        // Books of a newer version, after a rollback: migrations only add.
        migrations.set_ignore_missing(true);
        migrations.run(&writer).await?;
        let readers = pool(2)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Tells whether the books can be read.
    pub(crate) async fn answer(&self) -> anyhow::Result<()> {
        sqlx::query_scalar!("SELECT 1 AS one")
            .fetch_one(&self.readers)
            .await?;
        Ok(())
    }

    /// Closes the books once everything under way is done.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Whether this request of a number that fails once is the one to fail. Remembered in the
    /// books, so that it is once also across restarts.
    pub(crate) async fn fails_now(&self, kind: Kind, key: &str) -> Result<bool, Problem> {
        let kind = kind_text(kind);
        let done = sqlx::query!(
            "INSERT INTO failed_keys (kind, key) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            kind,
            key
        )
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes down what `ask` comes to, unless its key has a movement already, and gives the
    /// key's movement. `willing` says whether the bank would do it.
    pub(crate) async fn record(&self, ask: &Ask, willing: bool) -> Result<Recorded, Problem> {
        // The write lock is taken at the start: what is read below cannot change before the end.
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(movement) = answered(&mut tx, ask).await? {
            return Ok(Recorded {
                movement,
                first: false,
            });
        }
        let willing = willing && covered(&mut tx, ask).await?;
        let movement = Movement {
            id: next_id(&mut tx).await?,
            kind: ask.kind,
            key: ask.key.clone(),
            outcome: if willing {
                Outcome::Succeeded
            } else {
                Outcome::Declined
            },
            amount_minor: ask.amount_minor,
            currency: ask.currency.clone(),
            reference: ask.reference,
            created_at: DateTime::from_timestamp_millis(Utc::now().timestamp_millis())
                .unwrap_or_default(),
        };
        write(&mut tx, ask, &movement).await?;
        if willing {
            add_to_balance(&mut tx, &movement).await?;
        }
        forget_failed(&mut tx, &movement).await?;
        tx.commit().await?;
        metrics::written(movement.kind, movement.outcome);
        tracing::info!(
            movement.id = %movement.id,
            movement.kind = kind_text(movement.kind),
            movement.outcome = outcome_text(movement.outcome),
            movement.amount_minor,
            movement.reference = %movement.reference,
            "movement written"
        );
        Ok(Recorded {
            movement,
            first: true,
        })
    }
}

/// The movement that the key of `ask` has, if it has one.
///
/// Fails with 422 where the key came with another request.
async fn answered(books: &mut SqliteConnection, ask: &Ask) -> Result<Option<Movement>, Problem> {
    let kind = kind_text(ask.kind);
    let Some(row) = sqlx::query!(
        r#"SELECT id AS "id: Uuid", outcome, amount_minor, currency, reference AS "reference: Uuid",
                  number, charge_id AS "charge_id: Uuid", created_at
           FROM movements WHERE kind = ?1 AND key = ?2"#,
        kind,
        ask.key
    )
    .fetch_optional(books)
    .await?
    else {
        return Ok(None);
    };
    let same = row.amount_minor == ask.amount_minor
        && row.currency == ask.currency
        && row.reference == ask.reference
        && row.number == ask.number
        && row.charge_id == ask.charge_id;
    if !same {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The key belongs to another request",
            "this Idempotency-Key came with a different request before; use a new one",
        )
        .field("Idempotency-Key"));
    }
    Ok(Some(Movement {
        id: row.id,
        kind: ask.kind,
        key: ask.key.clone(),
        outcome: outcome_of(&row.outcome),
        amount_minor: row.amount_minor,
        currency: row.currency,
        reference: row.reference,
        created_at: DateTime::from_timestamp_millis(row.created_at).unwrap_or_default(),
    }))
}

/// Whether there is enough left of the charge that a refund gives back. Others need no cover.
async fn covered(books: &mut SqliteConnection, ask: &Ask) -> Result<bool, sqlx::Error> {
    let Some(charge_id) = ask.charge_id else {
        return Ok(true);
    };
    let left = sqlx::query_scalar!(
        r#"SELECT amount_minor - (
               SELECT COALESCE(SUM(refund.amount_minor), 0) FROM movements AS refund
               WHERE refund.charge_id = charge.id AND refund.outcome = 'succeeded'
           ) AS "left!: i64"
           FROM movements AS charge
           WHERE charge.id = ?1 AND charge.kind = 'charge' AND charge.outcome = 'succeeded'"#,
        charge_id
    )
    .fetch_optional(books)
    .await?;
    Ok(left.is_some_and(|left| ask.amount_minor <= left))
}

/// An id above every other, also where the clock went back since the last one.
async fn next_id(books: &mut SqliteConnection) -> Result<Uuid, sqlx::Error> {
    let last =
        sqlx::query_scalar!(r#"SELECT id AS "id: Uuid" FROM movements ORDER BY id DESC LIMIT 1"#)
            .fetch_optional(books)
            .await?;
    Ok(above(last, Uuid::now_v7()))
}

fn above(last: Option<Uuid>, fresh: Uuid) -> Uuid {
    match last {
        Some(last) if last >= fresh => Uuid::from_u128(last.as_u128().saturating_add(1)),
        _ => fresh,
    }
}

async fn write(
    books: &mut SqliteConnection,
    ask: &Ask,
    movement: &Movement,
) -> Result<(), sqlx::Error> {
    let (kind, outcome) = (kind_text(movement.kind), outcome_text(movement.outcome));
    let created_at = movement.created_at.timestamp_millis();
    sqlx::query!(
        "INSERT INTO movements
             (id, kind, key, outcome, amount_minor, currency, reference, number, charge_id,
              created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        movement.id,
        kind,
        movement.key,
        outcome,
        movement.amount_minor,
        movement.currency,
        movement.reference,
        ask.number,
        ask.charge_id,
        created_at
    )
    .execute(books)
    .await?;
    Ok(())
}

async fn add_to_balance(
    books: &mut SqliteConnection,
    movement: &Movement,
) -> Result<(), sqlx::Error> {
    let only = |kind| {
        if movement.kind == kind {
            movement.amount_minor
        } else {
            0
        }
    };
    let (charged, refunded, paid_out) =
        (only(Kind::Charge), only(Kind::Refund), only(Kind::Payout));
    sqlx::query!(
        "INSERT INTO balances (currency, charged_minor, refunded_minor, paid_out_minor)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (currency) DO UPDATE SET
             charged_minor = charged_minor + excluded.charged_minor,
             refunded_minor = refunded_minor + excluded.refunded_minor,
             paid_out_minor = paid_out_minor + excluded.paid_out_minor",
        movement.currency,
        charged,
        refunded,
        paid_out
    )
    .execute(books)
    .await?;
    Ok(())
}

/// The movement remembers the key from now on.
async fn forget_failed(
    books: &mut SqliteConnection,
    movement: &Movement,
) -> Result<(), sqlx::Error> {
    let kind = kind_text(movement.kind);
    sqlx::query!(
        "DELETE FROM failed_keys WHERE kind = ?1 AND key = ?2",
        kind,
        movement.key
    )
    .execute(books)
    .await?;
    Ok(())
}

/// The kind as it stands in the books and in metrics.
pub(crate) fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Charge => "charge",
        Kind::Refund => "refund",
        Kind::Payout => "payout",
    }
}

fn kind_of(text: &str) -> Kind {
    match text {
        "charge" => Kind::Charge,
        "refund" => Kind::Refund,
        _ => Kind::Payout,
    }
}

/// The outcome as it stands in the books and in metrics.
pub(crate) fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Declined => "declined",
    }
}

fn outcome_of(text: &str) -> Outcome {
    if text == "succeeded" {
        Outcome::Succeeded
    } else {
        Outcome::Declined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn books_that_a_newer_version_has_changed_are_opened() {
        let folder = std::env::temp_dir().join(format!("bank-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("books.sqlite");
        let books = Books::open(&file).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9999, 'of a newer version', true, x'00', 0)",
        )
        .execute(&books.writer)
        .await
        .unwrap();
        books.writer.close().await;
        Books::open(&file).await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ids_grow_although_the_clock_goes_back() {
        let (earlier, later) = (Uuid::from_u128(7), Uuid::from_u128(9));
        assert_eq!(above(None, earlier), earlier);
        assert_eq!(above(Some(earlier), later), later);
        assert_eq!(above(Some(later), earlier), Uuid::from_u128(10));
        assert_eq!(above(Some(later), later), Uuid::from_u128(10));
    }
}
