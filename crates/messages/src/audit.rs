//! What `booking` answers the checkers: an event's rows, and the totals of ledger and outbox.
//!
//! [`Audit`] carries rows as they are stored, but for the ledger: one line for each transaction, with
//! its sums for the bank and the organiser. It leaves out pruned rows and all but the newest thousand
//! terms. [`Ledger`] and [`Outbox`] carry totals. The checkers judge them.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// `GET /internal/audit/{event_id}`: an event's books, read in one transaction.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The event.
    pub event_id: Uuid,
    /// When the books were read, by the database's clock.
    pub read_at: DateTime<Utc>,
    /// All orders.
    pub orders: Vec<AuditedOrder>,
    /// All holds that have not been pruned.
    pub holds: Vec<AuditedHold>,
    /// All seats.
    pub seats: Vec<AuditedSeat>,
    /// All tickets.
    pub tickets: Vec<AuditedTicket>,
    /// All settlements.
    pub settlements: Vec<AuditedSettlement>,
    /// The event's part of the ledger, a line a transaction.
    pub ledger: Vec<AuditedTransaction>,
    /// The outbox rows of its orders that have not been pruned.
    pub outbox: Vec<AuditedRow>,
    /// The newest thousand leaders' terms, of the whole system.
    pub terms: Vec<AuditedTerm>,
    /// The last effect of each leader's task, of the whole system.
    pub tasks: Vec<AuditedTask>,
}

/// Where an order stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The payment is under way.
    Pending,
    /// `bank` declined the card; the order waits for another one.
    Declined,
    /// Paid.
    Paid,
    /// Paid, and the refund is under way.
    Cancelling,
    /// Final: nothing was paid, or it was refunded.
    Cancelled,
    /// Final: no other card came in time.
    Expired,
}

impl OrderState {
    /// Whether the order stays in this state until its customer sends another request.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Cancelled | Self::Expired)
    }

    /// Whether the order has its seats.
    #[must_use]
    pub fn has_seats(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Expired)
    }
}

impl FromStr for OrderState {
    type Err = serde::de::value::Error;

    fn from_str(stored: &str) -> Result<Self, Self::Err> {
        Self::deserialize(stored.into_deserializer())
    }
}

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedOrder {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub hold_id: Uuid,
    pub state: OrderState,
    pub cancel_requested: bool,
    pub attempt: i32,
    pub total_minor: i64,
    pub charge_id: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub seat_ids: Vec<i64>,
}

/// A hold.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedHold {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub state: String,
    pub total_minor: i64,
    pub expires_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub seat_ids: Vec<i64>,
}

/// A seat.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedSeat {
    pub id: i64,
    pub section: String,
    pub row: String,
    pub number: i32,
    pub price_minor: i64,
    pub hold_id: Option<Uuid>,
    pub held_until: Option<DateTime<Utc>>,
    pub order_id: Option<Uuid>,
}

/// A ticket.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedTicket {
    pub id: Uuid,
    pub order_id: Uuid,
    pub seat_id: i64,
    pub state: String,
    pub rendered: bool,
    pub admitted_at: Option<DateTime<Utc>>,
}

/// A settlement.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedSettlement {
    pub id: Uuid,
    pub period: i64,
    pub amount_minor: i64,
    pub state: String,
    pub fence_token: i64,
    pub paid_fence_token: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
}

/// A transaction of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table, and what it enters in each account
pub struct AuditedTransaction {
    pub cause: String,
    pub kind: String,
    pub order_id: Option<Uuid>,
    pub settlement_id: Option<Uuid>,
    pub bank_minor: i64,
    pub organiser_minor: i64,
    pub fence_token: Option<i64>,
    pub created_at: DateTime<Utc>,
}

/// A row of the outbox.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedRow {
    pub id: Uuid,
    pub destination: String,
    pub group_id: Uuid,
    pub sequence: i64,
    pub kind: String,
    pub sends: i32,
    pub sent_at: Option<DateTime<Utc>>,
    pub fence_token: Option<i64>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub dead_at: Option<DateTime<Utc>>,
}

/// A leader's term.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedTerm {
    pub token: i64,
    pub holder: String,
    pub minted_at: DateTime<Utc>,
}

/// The last effect of a leader's task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedTask {
    pub task: String,
    pub fence_token: i64,
    pub runs: i64,
    pub last_effect_at: Option<DateTime<Utc>>,
}

/// `GET /internal/ledger`: what the ledger comes to, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// The sum of all entries: zero.
    pub sum_minor: i64,
    /// What the bank holds for us: charged, less refunded and paid out, plus closed.
    pub bank_minor: i64,
    /// Charged.
    pub charged_minor: i64,
    /// Refunded.
    pub refunded_minor: i64,
    /// Paid out to organisers.
    pub paid_out_minor: i64,
    /// What the closing balances of pruned events put in the place of their entries.
    pub closed_minor: i64,
    /// What we owe organisers and have not paid out.
    pub owed_minor: i64,
    /// The part of it that is recorded for payout.
    pub due_minor: i64,
}

/// `GET /internal/outbox`: the outbox rows whose effect is not recorded yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outbox {
    /// Rows that are neither delivered nor dead.
    pub undelivered: i64,
    /// Rows that could not be delivered and wait for a person.
    pub dead: i64,
    /// Age of the oldest undelivered row; 0 where there is none.
    pub oldest_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_its_stored_name_and_from_no_other() {
        assert_eq!("cancelling".parse(), Ok(OrderState::Cancelling));
        assert!("Cancelling".parse::<OrderState>().is_err());
    }
}
