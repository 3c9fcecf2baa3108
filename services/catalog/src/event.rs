//! An event: the document, what an organiser sends, and its short form in lists.

use chrono::{DateTime, TimeDelta, Utc};
use messages::seating::{PutSeating, Section};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Only its organiser sees it.
    Draft,
    /// Everybody sees it and may buy.
    OnSale,
}

impl State {
    /// The state as it stands in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::OnSale => "on_sale",
        }
    }
}

/// What an organiser sends to create or replace an event. Title, city, venue and the names of
/// sections are lines that people read: they are stored in NFC without white space at their ends, and
/// refused where they have control characters, override the direction of text or show nothing. Two
/// sections whose names differ only in spelling, case or spacing are one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// What it is called.
    #[schema(example = "An evening of fado", min_length = 1, max_length = 120)]
    pub title: String,
    /// A longer text; may have line breaks.
    #[serde(default)]
    #[schema(max_length = 4000)]
    pub description: String,
    /// The city, by which events are found.
    #[schema(example = "Lisbon", min_length = 1, max_length = 60)]
    pub city: String,
    /// The house.
    #[schema(example = "Coliseu", min_length = 1, max_length = 120)]
    pub venue: String,
    /// When it begins, kept to the second; in the future, within five years.
    pub starts_at: DateTime<Utc>,
    /// ISO 4217 code of all prices, of a currency that is in use.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub currency: String,
    /// Sandbox account number that payouts go to.
    #[serde(default = "payout_account")]
    #[schema(default = "4242424242424242", pattern = "^[0-9]{16}$")]
    pub payout_account: String,
    /// The seats, section by section; 20,000 seats at most.
    #[schema(min_items = 1, max_items = 20)]
    pub sections: Vec<Section>,
}

impl Draft {
    /// One that may be created as it stands: in a year from now.
    pub fn example() -> Self {
        let section = |name: &str, rows, price_minor| Section {
            name: name.to_owned(),
            rows,
            seats_per_row: 20,
            price_minor,
        };
        Self {
            title: "An evening of songs".to_owned(),
            description: "Two singers, one piano.".to_owned(),
            city: "Linz".to_owned(),
            venue: "Great Hall".to_owned(),
            starts_at: to_the_second(Utc::now() + TimeDelta::days(365)),
            currency: "EUR".to_owned(),
            payout_account: payout_account(),
            sections: vec![section("Stalls", 10, 6_500), section("Balcony", 5, 4_500)],
        }
    }
}

fn payout_account() -> String {
    "4242424242424242".to_owned()
}

/// An event document.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Its id (UUIDv7).
    pub id: Uuid,
    /// Whose it is.
    pub organiser_id: Uuid,
    /// What it is called.
    pub title: String,
    /// A longer text.
    pub description: String,
    /// The city.
    pub city: String,
    /// The house.
    pub venue: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// ISO 4217 code of all prices.
    pub currency: String,
    /// Sandbox account number that payouts go to; only its organiser sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout_account: Option<String>,
    /// The seats, section by section.
    pub sections: Vec<Section>,
    /// Draft or on sale.
    pub state: State,
    /// Grows by one with each change; also the `ETag`.
    pub version: u64,
    /// Publishing has begun, so `booking` may know the seats.
    #[serde(skip)]
    #[schema(ignore)]
    pub is_fixed: bool,
}

impl Event {
    /// A new draft of `organiser_id`.
    pub fn create(organiser_id: Uuid, draft: Draft) -> Self {
        let mut event = Self {
            id: Uuid::now_v7(),
            organiser_id,
            title: String::new(),
            description: String::new(),
            city: String::new(),
            venue: String::new(),
            starts_at: draft.starts_at,
            currency: String::new(),
            payout_account: None,
            sections: Vec::new(),
            state: State::Draft,
            version: 0,
            is_fixed: false,
        };
        event.replace(draft);
        event
    }

    /// The next version, with what the organiser sent.
    pub fn replace(&mut self, draft: Draft) {
        self.title = draft.title;
        self.description = draft.description;
        self.city = draft.city;
        self.venue = draft.venue;
        self.starts_at = to_the_second(draft.starts_at);
        self.currency = draft.currency;
        self.payout_account = Some(draft.payout_account);
        self.sections = draft.sections;
        self.version += 1;
    }

    /// The event as anybody may see it.
    pub fn into_public(mut self) -> Self {
        self.payout_account = None;
        self
    }

    /// What `booking` is told when the event is published.
    pub fn seating(&self) -> PutSeating {
        PutSeating {
            organiser_id: self.organiser_id,
            title: self.title.clone(),
            venue: self.venue.clone(),
            starts_at: self.starts_at,
            currency: self.currency.clone(),
            payout_account: self.payout_account.clone().unwrap_or_else(payout_account),
            sections: self.sections.clone(),
        }
    }

    /// How many seats it has.
    pub fn seats(&self) -> u64 {
        self.sections
            .iter()
            .map(|s| u64::from(s.rows) * u64::from(s.seats_per_row))
            .sum()
    }

    /// The price of its cheapest seat.
    pub fn price_from_minor(&self) -> i64 {
        self.sections
            .iter()
            .map(|section| section.price_minor)
            .min()
            .unwrap_or_default()
    }
}

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventSummary {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub title: String,
    /// The city.
    pub city: String,
    /// The house.
    pub venue: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// ISO 4217 code of the price.
    pub currency: String,
    /// The price of the cheapest seat in minor units.
    pub price_from_minor: i64,
    /// How many seats there are, sold or not.
    pub seats: u64,
    /// Draft or on sale.
    pub state: State,
    /// The document's version.
    pub version: u64,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub items: Vec<EventSummary>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Times are kept to the second, so that they sort as text.
pub fn to_the_second(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}
