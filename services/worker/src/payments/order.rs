//! An order as the payments consumer sees it.

use messages::outbox::Kind;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::Failure;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its payment is under way.
    Pending,
    /// The bank said no; a new card may be given for a while.
    Declined,
    /// Paid.
    Paid,
    /// Paid; its refund is under way.
    Cancelling,
    /// Cancelled; final.
    Cancelled,
    /// It was not paid in time; final.
    Expired,
}

impl State {
    fn parse(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "pending" => Self::Pending,
            "declined" => Self::Declined,
            "paid" => Self::Paid,
            "cancelling" => Self::Cancelling,
            "cancelled" => Self::Cancelled,
            "expired" => Self::Expired,
            _ => {
                return Err(Failure::Inconsistent(
                    "an order in a state that nobody knows",
                ));
            }
        })
    }
}

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The event it is for.
    pub event: Uuid,
    /// Where it stands.
    pub state: State,
    /// The customer wants it cancelled once the payment is settled.
    pub cancel_requested: bool,
    /// Its price.
    pub total_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The sandbox card number.
    pub card: String,
    /// Part of the key at the bank.
    pub attempt: i32,
    /// The charge at the bank, once there is one.
    pub charge_id: Option<Uuid>,
    /// Whether the event has begun, by the database's clock, judged after any lock was had.
    pub event_begun: bool,
}

/// An order as the database writes it.
struct Stored {
    id: Uuid,
    event_id: Uuid,
    state: String,
    cancel_requested: bool,
    total_minor: i64,
    currency: String,
    card: String,
    attempt: i32,
    charge_id: Option<Uuid>,
    event_begun: bool,
}

impl Order {
    /// The order as it stands, without a lock.
    ///
    /// # Errors
    /// There is none, or the database was away.
    pub async fn read(database: impl PgExecutor<'_>, id: Uuid) -> Result<Self, Failure> {
        let found = sqlx::query_as!(
            Stored,
            r#"SELECT orders.id, event_id, state, cancel_requested, total_minor, orders.currency,
                card, attempt, charge_id, starts_at <= clock_timestamp() AS "event_begun!"
            FROM orders JOIN events ON events.id = event_id WHERE orders.id = $1"#,
            id,
        )
        .fetch_optional(database)
        .await?;
        Self::from_stored(found)
    }

    /// The order, locked until the transaction ends. Whoever changes an order, its seats or its
    /// tickets locks it first.
    ///
    /// # Errors
    /// There is none, or the database was away.
    pub async fn lock(tx: &mut PgConnection, id: Uuid) -> Result<Self, Failure> {
        let found = sqlx::query_as!(
            Stored,
            r#"WITH locked AS MATERIALIZED (
                SELECT id, event_id, state, cancel_requested, total_minor, currency, card, attempt,
                    charge_id
                FROM orders WHERE id = $1 FOR UPDATE
            )
            SELECT locked.id, event_id, state, cancel_requested, total_minor, locked.currency,
                card, attempt, charge_id, starts_at <= clock_timestamp() AS "event_begun!"
            FROM locked JOIN events ON events.id = event_id"#,
            id,
        )
        .fetch_optional(tx)
        .await?;
        Self::from_stored(found)
    }

    fn from_stored(found: Option<Stored>) -> Result<Self, Failure> {
        let order = found.ok_or(Failure::Inconsistent("a row without its order"))?;
        Ok(Self {
            state: State::parse(&order.state)?,
            id: order.id,
            event: order.event_id,
            cancel_requested: order.cancel_requested,
            total_minor: order.total_minor,
            currency: order.currency,
            card: order.card,
            attempt: order.attempt,
            charge_id: order.charge_id,
            event_begun: order.event_begun,
        })
    }

    /// The key of its present charge at the bank, and the cause in the ledger.
    #[must_use]
    pub fn charge_key(&self) -> String {
        format!("{}-{}-{}", Kind::Charge.as_str(), self.id, self.attempt)
    }

    /// The key of its refund at the bank, and the cause in the ledger.
    #[must_use]
    pub fn refund_key(&self) -> String {
        format!("{}-{}", Kind::Refund.as_str(), self.id)
    }

    /// Makes the order cancelled and its seats free, in the transaction that makes it final.
    ///
    /// # Errors
    /// The database was away.
    pub async fn cancel(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE orders SET state = 'cancelled', payment_due_at = NULL,
                updated_at = clock_timestamp()
            WHERE id = $1",
            self.id,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE tickets SET state = 'cancelled' WHERE order_id = $1 AND state = 'valid'",
            self.id,
        )
        .execute(&mut *tx)
        .await?;
        free_seats(tx, &[self.id]).await
    }

    /// Ends an order that was not paid in time and frees its seats, in the transaction that makes it
    /// final.
    ///
    /// # Errors
    /// The database was away.
    pub async fn expire(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE orders SET state = 'expired', updated_at = clock_timestamp() WHERE id = $1",
            self.id,
        )
        .execute(&mut *tx)
        .await?;
        free_seats(tx, &[self.id]).await
    }
}

/// Frees the seats of orders that became final.
///
/// # Errors
/// The database was away.
pub async fn free_seats(tx: &mut PgConnection, orders: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE seats SET order_id = NULL WHERE order_id = ANY($1)",
        orders
    )
    .execute(tx)
    .await?;
    Ok(())
}
