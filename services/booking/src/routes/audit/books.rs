//! An event's books, as `GET /internal/audit/{event_id}` answers them: rows as they are stored.
//!
//! Checkers outside judge them; whatever they need to judge by stands here, and nothing is summed
//! up or left out on the way.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// An event's books.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The event.
    pub event_id: Uuid,
    /// When the books were read.
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

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)] // the columns of the table
pub struct AuditedOrder {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub hold_id: Uuid,
    pub state: String,
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
