//! Events that are over: order by order they go, each order whole, with its hold, its tickets and
//! its outbox rows; then holds that came to nothing, seats and settlements; then the ledger shrinks
//! to one transaction for each kind, with the same sums as before; last the event itself.
//!
//! A step is one fenced transaction of a bounded size. What somebody may read in between is
//! complete: an order is there with all its seats, or it is not there.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgExecutor};
use transaction::Isolation;
use uuid::Uuid;

use super::Prune;
use crate::payments::order::free_seats;
use crate::tasks::{Failure, Task};
use crate::{fence, ledger};

/// Most orders deleted in one transaction.
const ORDERS: i64 = 200;
/// Most rows of another kind deleted in one transaction.
const ROWS: i64 = 500;
/// How long an event is left alone whose pruning failed, so that it stands in no other's way.
const AFTER_FAILURE: Duration = Duration::from_secs(600);

impl Prune {
    /// Prunes a part of an event that is over; whether more may be left. An event stays while
    /// anything of it is open: an outbox row, an order on its way, a hold, money that is owed.
    ///
    /// # Errors
    /// Refused by the token, or the database failed; where it failed over an event, others are
    /// pruned before that one is tried again.
    pub async fn next_event(&self, token: i64) -> Result<bool, Failure> {
        let Some(event) = self.over(&self.pool, None).await? else {
            return Ok(false);
        };
        let pruned = self.part_of(event, token).await;
        if let Err(Failure::Database(error)) = &pruned {
            tracing::error!(event.id = %event, %error, "an event could not be pruned");
            self.failed().insert(event, Instant::now());
        }
        pruned
    }

    async fn part_of(&self, event: Uuid, token: i64) -> Result<bool, Failure> {
        let name = self.name();
        // Read committed: the event's row is locked first. That waits for whoever is just holding
        // or ordering seats of it, because their rows point at it, and lets nobody else begin; what
        // the next statement sees of it stays so until the end.
        transaction::run(
            &self.pool,
            "prune event",
            Isolation::ReadCommitted,
            |mut tx| async move {
                sqlx::query!("SELECT id FROM events WHERE id = $1 FOR UPDATE", event)
                    .fetch_optional(&mut *tx)
                    .await?;
                fence::check(&mut tx, token).await?;
                if self.over(&mut *tx, Some(event)).await?.is_none() {
                    return tx.done(false);
                }
                fence::store(&mut tx, name, token).await?;
                delete_a_part(&mut tx, event).await?;
                tx.done::<_, Failure>(true)
            },
        )
        .await
    }

    /// The event that was over first, of all or of `only` that one.
    async fn over(
        &self,
        database: impl PgExecutor<'_>,
        only: Option<Uuid>,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let left_alone = self.left_alone();
        sqlx::query_scalar!(
            "SELECT id FROM events
            WHERE ($1::uuid IS NULL OR id = $1) AND id <> ALL ($2)
                AND starts_at < clock_timestamp() - make_interval(secs => $3)
                AND NOT EXISTS (SELECT FROM orders
                    WHERE event_id = events.id AND state IN ('pending', 'declined', 'cancelling'))
                AND NOT EXISTS (SELECT FROM orders JOIN outbox ON group_id = orders.id
                    WHERE event_id = events.id AND delivered_at IS NULL)
                AND NOT EXISTS (SELECT FROM holds
                    WHERE event_id = events.id AND state = 'active'
                        AND expires_at > clock_timestamp())
                AND NOT EXISTS (SELECT FROM settlements
                    WHERE event_id = events.id AND state = 'due')
                AND coalesce((SELECT sum(amount_minor) FROM ledger_entries
                    WHERE event_id = events.id AND account = 'organiser'), 0) >= 0
            ORDER BY starts_at LIMIT 1",
            only,
            &left_alone,
            self.keep.as_secs_f64(),
        )
        .fetch_optional(database)
        .await
    }

    fn left_alone(&self) -> Vec<Uuid> {
        let mut failed = self.failed();
        failed.retain(|_, at| at.elapsed() < AFTER_FAILURE);
        failed.keys().copied().collect()
    }
}

/// Deletes as much of the event as one transaction may: the next kind of rows only once a kind has
/// less left than that, and the event once nothing is left.
async fn delete_a_part(tx: &mut PgConnection, event: Uuid) -> Result<(), sqlx::Error> {
    if delete_orders(&mut *tx, event).await? >= ORDERS.unsigned_abs()
        || delete_rows(&mut *tx, event).await? >= ROWS.unsigned_abs()
        || ledger::close(&mut *tx, event, ROWS).await?
    {
        return Ok(());
    }
    sqlx::query!("DELETE FROM events WHERE id = $1", event)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes orders with all that belongs to them; their seats stay for the moment.
async fn delete_orders(tx: &mut PgConnection, event: Uuid) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, hold_id FROM orders WHERE event_id = $1 ORDER BY id LIMIT $2 FOR UPDATE",
        event,
        ORDERS,
    )
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (orders, holds): (Vec<Uuid>, Vec<Uuid>) =
        rows.into_iter().map(|row| (row.id, row.hold_id)).unzip();
    sqlx::query!(
        "DELETE FROM outbox
        WHERE destination IN ('payments', 'tickets') AND group_id = ANY ($1)",
        &orders,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM outbox_groups
        WHERE destination IN ('payments', 'tickets') AND group_id = ANY ($1)",
        &orders,
    )
    .execute(&mut *tx)
    .await?;
    free_seats(&mut *tx, &orders).await?;
    // Tickets, order_seats and hold_seats go with what they belong to.
    let deleted = sqlx::query!("DELETE FROM orders WHERE id = ANY ($1)", &orders)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    sqlx::query!("DELETE FROM holds WHERE id = ANY ($1)", &holds)
        .execute(tx)
        .await?;
    Ok(deleted)
}

/// Deletes holds, then seats, then settlements, up to [`ROWS`] of each; the most there were of one.
async fn delete_rows(tx: &mut PgConnection, event: Uuid) -> Result<u64, sqlx::Error> {
    let holds = sqlx::query!(
        "DELETE FROM holds
        WHERE id = ANY (ARRAY(SELECT id FROM holds WHERE event_id = $1 LIMIT $2))",
        event,
        ROWS,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if holds >= ROWS.unsigned_abs() {
        return Ok(holds);
    }
    let seats = sqlx::query!(
        "DELETE FROM seats
        WHERE id = ANY (ARRAY(SELECT id FROM seats WHERE event_id = $1 LIMIT $2))",
        event,
        ROWS,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let settlements = sqlx::query!(
        "DELETE FROM settlements
        WHERE id = ANY (ARRAY(SELECT id FROM settlements WHERE event_id = $1 LIMIT $2))",
        event,
        ROWS,
    )
    .execute(tx)
    .await?
    .rows_affected();
    Ok(seats.max(settlements))
}
