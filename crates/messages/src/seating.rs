//! What `catalog` says to `booking` when an event is published.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most seats an event may have.
pub const MAX_SEATS: u32 = 20_000;

/// How long `booking` may take to answer [`PutSeating`]; whoever asks waits a little longer, and
/// hears from `booking` what was missing.
pub const PUT_TIMEOUT: Duration = Duration::from_millis(4_100);

/// `PUT /internal/events/{id}` on `booking`: the event's seats and prices. Idempotent: the same
/// document again changes nothing; another seating for an event that is on sale is refused (409).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSeating {
    /// Who gets the money.
    pub organiser_id: Uuid,
    /// What is printed on tickets.
    pub title: String,
    /// Where it is, printed on tickets.
    pub venue: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// ISO 4217 code of all prices.
    pub currency: String,
    /// Sandbox account number that payouts go to.
    pub payout_account: String,
    /// The seats, section by section.
    pub sections: Vec<Section>,
}

/// A block of seats of one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Name, unique within the event.
    #[schema(example = "Stalls", min_length = 1, max_length = 40)]
    pub name: String,
    /// Rows, named `1`, `2`, …
    #[schema(example = 10, minimum = 1, maximum = 200)]
    pub rows: u32,
    /// Seats in each row, numbered from 1.
    #[schema(example = 30, minimum = 1, maximum = 200)]
    pub seats_per_row: u32,
    /// Price of a seat in minor units.
    #[schema(example = 4500, minimum = 1, maximum = 100_000_000)]
    pub price_minor: i64,
}
