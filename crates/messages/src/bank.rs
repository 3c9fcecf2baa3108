//! What the back office and `bank` say to each other.
//!
//! Every request that moves money carries an `Idempotency-Key` header; `bank` never forgets a key
//! and answers a repetition with the first answer. Money is integer minor units.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most one movement may be, in minor units: sums of it stay far from overflow.
pub const MOST_MINOR: i64 = 100_000_000_000;

/// `POST /v1/charges`: take money from a card. `POST /v1/cancellations`, with the same key: end that
/// charge.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeRequest {
    /// Sandbox card number, 16 digits; the number says how `bank` behaves.
    #[schema(example = "4242424242424242")]
    pub card: String,
    /// Amount in minor units, more than nothing.
    #[schema(example = 4500, minimum = 1)]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// The order that is paid.
    pub reference: Uuid,
}

/// `POST /v1/refunds`: give back the whole of a charge.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    /// The charge to give back.
    pub charge_id: Uuid,
    /// Amount in minor units, at most what is left of the charge.
    #[schema(minimum = 1)]
    pub amount_minor: i64,
    /// The order that is refunded.
    pub reference: Uuid,
}

/// `POST /v1/payouts`: pay an organiser.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayoutRequest {
    /// Sandbox account number, 16 digits, with the same meanings as card numbers.
    pub account: String,
    /// Amount in minor units, more than nothing.
    #[schema(minimum = 1)]
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The settlement that is paid out.
    pub reference: Uuid,
}

/// How a movement of money ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The money moved.
    Succeeded,
    /// `bank` refused for good: the same key gives the same answer for ever.
    Declined,
}

/// Which way the money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From a card to us.
    Charge,
    /// From us back to a card.
    Refund,
    /// From us to an organiser.
    Payout,
}

/// One line of `bank`'s books, and the answer to each request that moves money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Movement {
    /// Its id (UUIDv7).
    pub id: Uuid,
    /// Which way.
    pub kind: Kind,
    /// The `Idempotency-Key` it was asked with.
    pub key: String,
    /// How it ended. Only succeeded movements moved money.
    pub outcome: Outcome,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The order or settlement it was for.
    pub reference: Uuid,
    /// When `bank` wrote it down.
    pub created_at: DateTime<Utc>,
}

/// `GET /v1/movements?after=&limit=&reference=`: a page of the books, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Books {
    /// The movements of this page.
    pub items: Vec<Movement>,
    /// Pass as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

/// `GET /v1/balance?currency=`: what the succeeded movements come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Balance {
    /// Charged, in minor units.
    pub charged_minor: i64,
    /// Refunded, in minor units.
    pub refunded_minor: i64,
    /// Paid out, in minor units.
    pub paid_out_minor: i64,
}
