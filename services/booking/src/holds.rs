//! Holds as clients see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::seats::PricedSeat;

/// Most seats a hold may have.
pub const MAX_SEATS: usize = 10;

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[schema(as = HoldState)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// The seats are kept for its customer.
    Active,
    /// It became an order.
    Ordered,
    /// Its customer gave it back.
    Released,
    /// Its time is over.
    Expired,
}

/// Seats kept for a customer for a short time, at prices that are frozen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// What became of it.
    pub state: State,
    /// The seats.
    pub seats: Vec<PricedSeat>,
    /// What they cost together, in minor units.
    #[schema(example = 9000)]
    pub total_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// When the seats are free again.
    pub expires_at: DateTime<Utc>,
}
