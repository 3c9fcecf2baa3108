//! What stands on the queues: a pointer to an outbox row, never a copy of the state.
//!
//! Whoever receives one reads the row and what it is about from the database, so that an old or
//! repeated message can do no harm.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of [`Pointer`] that this code writes and reads.
pub const VERSION: u32 = 1;

/// Where a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// `payments.fifo`, group = order.
    Payments,
    /// `tickets`, no order.
    Tickets,
}

impl Destination {
    /// All destinations.
    pub const ALL: [Self; 2] = [Self::Payments, Self::Tickets];

    /// The name in the outbox table, in metrics and in commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Tickets => "tickets",
        }
    }

    /// The name of the SQS queue.
    #[must_use]
    pub fn queue(self) -> &'static str {
        match self {
            Self::Payments => "payments.fifo",
            Self::Tickets => "tickets",
        }
    }

    /// The name of the SQS queue that takes what could not be consumed.
    #[must_use]
    pub fn dead_letter_queue(self) -> &'static str {
        match self {
            Self::Payments => "payments-dead-letters.fifo",
            Self::Tickets => "tickets-dead-letters",
        }
    }
}

impl std::str::FromStr for Destination {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|destination| destination.as_str() == text)
            .ok_or_else(|| format!("no such destination: {text} (payments, tickets)"))
    }
}

/// What a row asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Charge the order's card.
    Charge,
    /// Give the order's money back, if it was taken, and free its seats.
    Refund,
    /// Render the order's tickets.
    RenderTickets,
}

impl Kind {
    /// The name in the outbox table and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::RenderTickets => "render_tickets",
        }
    }
}

/// The body of a message on the queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// Version of this shape.
    pub version: u32,
    /// The outbox row.
    pub row_id: Uuid,
    /// What the row is about; the FIFO group. For both destinations the order.
    pub group_id: Uuid,
    /// The row's number within its group, from 1 without gaps.
    pub sequence: i64,
    /// What is asked.
    pub kind: Kind,
    /// How often the row was sent, this time included.
    pub send: i32,
    /// W3C `traceparent` of the request that wrote the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
