//! What can be read out of the books.

use chrono::DateTime;
use messages::bank::{Balance, Movement};
use problem::Problem;
use uuid::Uuid;

use super::{Ask, Books, answered, kind_of, outcome_of};

/// What a refund has to know of its charge.
pub(crate) struct Charge {
    pub(crate) card: String,
    pub(crate) currency: String,
}

struct Row {
    id: Uuid,
    kind: String,
    key: String,
    outcome: String,
    amount_minor: i64,
    currency: String,
    reference: Uuid,
    created_at: i64,
}

impl From<Row> for Movement {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            kind: kind_of(&row.kind),
            key: row.key,
            outcome: outcome_of(&row.outcome),
            amount_minor: row.amount_minor,
            currency: row.currency,
            reference: row.reference,
            created_at: DateTime::from_timestamp_millis(row.created_at).unwrap_or_default(),
        }
    }
}

impl Books {
    /// The movement that the key of `ask` has, if it has one; 422 where the key came with another
    /// request.
    pub(crate) async fn answered(&self, ask: &Ask) -> Result<Option<Movement>, Problem> {
        let mut reader = self.readers.acquire().await?;
        answered(&mut reader, ask).await
    }

    /// The charge with this id.
    pub(crate) async fn charge(&self, id: Uuid) -> Result<Option<Charge>, sqlx::Error> {
        sqlx::query_as!(
            Charge,
            r#"SELECT number AS "card!", currency FROM movements WHERE id = ?1 AND kind = 'charge'"#,
            id
        )
        .fetch_optional(&self.readers)
        .await
    }

    /// Up to `limit` movements after `after`, oldest first.
    pub(crate) async fn page(&self, after: Uuid, limit: i64) -> Result<Vec<Movement>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: Uuid", kind, key, outcome, amount_minor, currency,
                      reference AS "reference: Uuid", created_at
               FROM movements WHERE id > ?1 ORDER BY id LIMIT ?2"#,
            after,
            limit
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(Movement::from).collect())
    }

    /// Up to `limit` movements of one reference after `after`, oldest first.
    pub(crate) async fn page_of(
        &self,
        reference: Uuid,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Movement>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: Uuid", kind, key, outcome, amount_minor, currency,
                      reference AS "reference: Uuid", created_at
               FROM movements WHERE reference = ?1 AND id > ?2 ORDER BY id LIMIT ?3"#,
            reference,
            after,
            limit
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(Movement::from).collect())
    }

    /// What the succeeded movements come to, in one currency or in all of them.
    pub(crate) async fn balance(&self, currency: Option<&str>) -> Result<Balance, sqlx::Error> {
        sqlx::query_as!(
            Balance,
            r#"SELECT COALESCE(SUM(charged_minor), 0) AS "charged_minor!: i64",
                      COALESCE(SUM(refunded_minor), 0) AS "refunded_minor!: i64",
                      COALESCE(SUM(paid_out_minor), 0) AS "paid_out_minor!: i64"
               FROM balances WHERE ?1 IS NULL OR currency = ?1"#,
            currency
        )
        .fetch_one(&self.readers)
        .await
    }
}
