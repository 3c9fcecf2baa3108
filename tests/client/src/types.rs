//! What the public addresses answer, as far as clients look at it.

use chrono::{DateTime, Utc};
use messages::audit::AuditedSeat;
pub use messages::audit::OrderState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A signed-in account.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// Whose it is.
    pub account_id: Uuid,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountView {
    /// Its id.
    pub id: Uuid,
    /// Its address.
    pub email: String,
    /// `customer` or `organiser`.
    pub role: String,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; absent on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// What of an event the crowd looks at.
#[derive(Clone, Debug, Deserialize)]
pub struct EventView {
    /// Its id.
    pub id: Uuid,
    /// Its title.
    pub title: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// `draft` or `on_sale`, where the answer says it.
    #[serde(default)]
    pub state: Option<String>,
}

/// A seat by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeatName {
    /// Section.
    pub section: String,
    /// Row.
    pub row: String,
    /// Number in the row.
    pub number: i32,
}

impl std::fmt::Display for SeatName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}-{}", self.section, self.row, self.number)
    }
}

impl From<&AuditedSeat> for SeatName {
    fn from(seat: &AuditedSeat) -> Self {
        Self {
            section: seat.section.clone(),
            row: seat.row.clone(),
            number: seat.number,
        }
    }
}

/// A seat with its price, as holds and orders show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedSeat {
    /// Which seat.
    #[serde(flatten)]
    pub name: SeatName,
    /// Its price, frozen.
    pub price_minor: i64,
}

/// A seat in the list of an event's seats.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedSeat {
    /// Which seat.
    #[serde(flatten)]
    pub name: SeatName,
    /// `free`, `held` or `sold`.
    pub state: String,
}

/// How many seats are left.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Availability {
    /// Free now.
    pub free: i64,
    /// Held now.
    pub held: i64,
    /// Sold.
    pub sold: i64,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// `active`, `ordered`, `released` or `expired`.
    pub state: String,
    /// Its seats.
    pub seats: Vec<PricedSeat>,
    /// What they cost together.
    pub total_minor: i64,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// The hold it came from.
    pub hold_id: Uuid,
    /// Where it stands.
    pub state: OrderState,
    /// Whether its customer asked to cancel it.
    pub cancel_requested: bool,
    /// Whether one of its outbox rows is dead.
    pub needs_attention: bool,
    /// Which card this is.
    pub attempt: i32,
    /// Its seats.
    pub seats: Vec<PricedSeat>,
    /// What they cost together.
    pub total_minor: i64,
    /// Until when a declined order waits for another card.
    #[serde(default)]
    pub payment_due_at: Option<DateTime<Utc>>,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: Uuid,
    /// Its seat.
    pub seat: SeatName,
    /// `valid`, `admitted` or `cancelled`.
    pub state: String,
    /// What the QR code says, once it is rendered.
    #[serde(default)]
    pub code: Option<String>,
    /// Where its PDF is, once it is rendered.
    #[serde(default)]
    pub pdf: Option<String>,
}

/// A ticket that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The ticket.
    pub ticket_id: Uuid,
    /// When it was let in, first.
    pub admitted_at: DateTime<Utc>,
}

/// A payout to the organiser of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementView {
    /// Its id.
    pub id: Uuid,
    /// The period it closed.
    pub period: i64,
    /// How much.
    pub amount_minor: i64,
    /// `due`, `paid` or `refused`.
    pub state: String,
}

/// What a worker says about itself and the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its host name.
    pub replica: String,
    /// Whether it leads.
    pub leading: bool,
    /// Who leads, as far as it knows.
    #[serde(default)]
    pub leader: Option<LeaderView>,
}

/// Who leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaderView {
    /// Host name of the leader.
    pub name: String,
    /// Its fencing token.
    pub token: i64,
    /// Since when.
    pub since: DateTime<Utc>,
}
