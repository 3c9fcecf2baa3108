//! Events: browsing them, and making them as an organiser.

use chrono::{DateTime, Utc};
use messages::seating::Section;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ask, Client, EventView, Failure, Operation, Page};

/// Where the events of crowds and scenarios are: not where the demo event is, which people find
/// first in its city.
pub const CITY: &str = "Salzburg";

/// An event to be made.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Title.
    pub title: String,
    /// City, which events are listed by.
    pub city: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// Sandbox account of the organiser.
    pub payout_account: String,
    /// Its seats.
    pub sections: Vec<Section>,
}

impl NewEvent {
    /// An event of `seats` seats or a few more, in two price sections, in six hours: it is pruned a day after that.
    #[must_use]
    pub fn with_seats(title: impl Into<String>, seats: u32) -> Self {
        Self {
            title: title.into(),
            city: CITY.to_owned(),
            starts_at: Utc::now() + chrono::TimeDelta::hours(6),
            payout_account: "4242424242424242".to_owned(),
            sections: sections(seats),
        }
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "title": self.title,
            "description": "An evening that sells out.",
            "city": self.city,
            "venue": "Great Hall",
            "starts_at": self.starts_at,
            "currency": "EUR",
            "payout_account": self.payout_account,
            "sections": self.sections,
        })
    }
}

/// Exactly `seats` seats: a third of them in the stalls, the others in the balcony. A row has up
/// to 20 seats; what does not fill a row stands in a section of its own.
#[must_use]
pub fn sections(seats: u32) -> Vec<Section> {
    let stalls = seats / 3;
    let mut sections = Vec::new();
    for (name, seats, price_minor) in [
        ("Stalls", stalls, 6_500),
        ("Balcony", seats - stalls, 4_500),
    ] {
        let rest = seats % 20;
        for (name, rows, seats_per_row) in [
            (name.to_owned(), seats / 20, 20),
            (format!("{name} side"), u32::from(rest > 0), rest),
        ] {
            if rows > 0 {
                sections.push(Section {
                    name,
                    rows,
                    seats_per_row,
                    price_minor,
                });
            }
        }
    }
    sections
}

impl Client {
    /// Makes an event and puts it on sale.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn open_event(&self, event: &NewEvent) -> Result<EventView, Failure> {
        let draft = self.create_event(self.next_key(), event).await?;
        self.publish_event(draft.id).await
    }

    /// Makes a draft of an event.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn create_event(&self, key: String, event: &NewEvent) -> Result<EventView, Failure> {
        let ask = Ask::post(Operation::CreateEvent, "/api/catalog/events")
            .key(key)
            .json(event.body());
        self.read(&ask).await
    }

    /// Puts a draft on sale.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn publish_event(&self, id: Uuid) -> Result<EventView, Failure> {
        let path = format!("/api/catalog/events/{id}/publish");
        self.read(&Ask::post(Operation::PublishEvent, path).about(id))
            .await
    }

    /// One event.
    ///
    /// # Errors
    /// A refusal (404), or no answer.
    pub async fn event(&self, id: Uuid) -> Result<EventView, Failure> {
        let path = format!("/api/catalog/events/{id}");
        self.read(&Ask::get(Operation::Browse, path).about(id))
            .await
    }

    /// The next events of a city.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn events_in(&self, city: &str, limit: u32) -> Result<Page<EventView>, Failure> {
        let path = format!("/api/catalog/events?city={city}&limit={limit}");
        self.read(&Ask::get(Operation::Browse, path)).await
    }

    /// The organiser's own events, drafts included.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn my_events(&self, cursor: Option<&str>) -> Result<Page<EventView>, Failure> {
        let cursor = cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default();
        let path = format!("/api/catalog/my-events?limit=100{cursor}");
        self.read(&Ask::get(Operation::Browse, path)).await
    }

    /// Looks at an event's seat map; tells how many bytes the picture has.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn seat_map(&self, id: Uuid) -> Result<usize, Failure> {
        let path = format!("/api/catalog/events/{id}/seat-map");
        self.insist(&Ask::get(Operation::Browse, path).about(id))
            .await
            .map(|answer| answer.length)
    }

    /// What is looked at most.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn popular(&self) -> Result<(), Failure> {
        self.insist(&Ask::get(
            Operation::Browse,
            "/api/catalog/popular?limit=10",
        ))
        .await
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hall_has_exactly_the_seats_that_were_asked_for() {
        for seats in [1, 2, 19, 20, 21, 40, 100, 300, 301, 1999] {
            let sum: u32 = sections(seats)
                .iter()
                .map(|s| s.rows * s.seats_per_row)
                .sum();
            assert_eq!(sum, seats);
        }
    }
}
