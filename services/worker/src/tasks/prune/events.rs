//! Events that are over: their seats, holds, orders and tickets go, their ledger shrinks to one
//! closing transaction for each kind, with the same sums as before.

use std::time::Duration;

use sqlx::PgConnection;
use transaction::Isolation;
use uuid::Uuid;

use super::Prune;
use crate::fence;
use crate::tasks::{Failure, Task};

/// How long after its beginning an event counts as over.
const OVER_AFTER: Duration = Duration::from_secs(3600);
/// Most seats deleted in one transaction.
const SEATS: i64 = 500;

impl Prune {
    /// Prunes an event that is over, or a part of it; whether more may be left. An event stays
    /// while anything of it is open: an outbox row, an order on its way, money that is owed.
    ///
    /// # Errors
    /// Refused by the token, or the database failed.
    pub async fn next_event(&self, token: i64) -> Result<bool, Failure> {
        let Some(event) = self.event_that_is_over().await? else {
            return Ok(false);
        };
        let name = self.name();
        // Read committed: an event that is over and settled takes no new orders, and its rows are
        // locked as they are deleted.
        transaction::run(
            &self.pool,
            "prune event",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                fence::store(&mut tx, name, token).await?;
                let seats = sqlx::query!(
                    "DELETE FROM seats
                WHERE id IN (SELECT id FROM seats WHERE event_id = $1 LIMIT $2)",
                    event,
                    SEATS,
                )
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if seats < SEATS.unsigned_abs() {
                    close(&mut tx, event).await?;
                }
                tx.done::<_, Failure>(())
            },
        )
        .await?;
        Ok(true)
    }

    async fn event_that_is_over(&self) -> Result<Option<Uuid>, sqlx::Error> {
        sqlx::query_scalar!(
            "SELECT id FROM events
            WHERE starts_at < clock_timestamp() - make_interval(secs => $1)
                AND NOT EXISTS (SELECT FROM orders
                    WHERE event_id = events.id AND (state IN ('pending', 'declined', 'cancelling')
                        OR EXISTS (SELECT FROM outbox
                            WHERE group_id = orders.id AND destination IN ('payments', 'tickets')
                                AND delivered_at IS NULL)))
                AND NOT EXISTS (SELECT FROM settlements
                    WHERE event_id = events.id AND state = 'due')
                AND coalesce((SELECT sum(amount_minor) FROM ledger_entries
                    WHERE event_id = events.id AND account = 'organiser'), 0) >= 0
            ORDER BY starts_at LIMIT 1",
            OVER_AFTER.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await
    }
}

/// Deletes the event with all that is left of it and closes its ledger.
async fn close(tx: &mut PgConnection, event: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM outbox WHERE group_id IN (SELECT id FROM orders WHERE event_id = $1)
            AND destination IN ('payments', 'tickets')",
        event,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM outbox_groups WHERE group_id IN (SELECT id FROM orders WHERE event_id = $1)
            AND destination IN ('payments', 'tickets')",
        event,
    )
    .execute(&mut *tx)
    .await?;
    close_ledger(&mut *tx, event).await?;
    // Holds and orders, with their seats and tickets, and settlements go with the event.
    sqlx::query!("DELETE FROM events WHERE id = $1", event)
        .execute(tx)
        .await?;
    Ok(())
}

async fn close_ledger(tx: &mut PgConnection, event: Uuid) -> Result<(), sqlx::Error> {
    let sums = sqlx::query!(
        r#"SELECT kind, currency, sum(amount_minor)::bigint AS "bank_minor!"
        FROM ledger_transactions
        JOIN ledger_entries ON transaction_id = ledger_transactions.id
        WHERE ledger_transactions.event_id = $1 AND account = 'bank'
        GROUP BY kind, currency"#,
        event,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM ledger_transactions WHERE event_id = $1", event)
        .execute(&mut *tx)
        .await?;
    for sum in sums {
        sqlx::query!(
            "WITH closing AS (
                INSERT INTO ledger_transactions (id, kind, event_id, cause)
                VALUES ($1, $2, $3, $4) RETURNING id
            )
            INSERT INTO ledger_entries (transaction_id, account, event_id, amount_minor, currency)
            SELECT closing.id, entry.account, $3, entry.amount_minor, $6
            FROM closing, (VALUES ('bank', $5::bigint), ('organiser', -$5::bigint))
                AS entry (account, amount_minor)",
            Uuid::now_v7(),
            sum.kind,
            event,
            format!("closing-{}-{event}", sum.kind),
            sum.bank_minor,
            sum.currency,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
