//! Events as items of the table and back.
//!
//! An item of an event has all its fields as attributes of their own, sections as a list of maps.
//! `city_key`, `on_sale` and `starts_key` are only there while the event is on sale, which keeps
//! drafts out of the indexes that lists are read from.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use messages::seating::Section;
use problem::Problem;
use uuid::Uuid;

use crate::event::{Event, EventSummary, State};

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

/// How long a document is kept after its event began; then the table's time to live deletes it.
pub const KEEP_AFTER_START: TimeDelta = TimeDelta::days(3);

/// The one partition of the index `on_sale`.
pub const ON_SALE: &str = "yes";

/// What an index holds of an event, beside its keys.
pub const SUMMARY: [&str; 9] = [
    "title",
    "city",
    "venue",
    "starts_at",
    "currency",
    "price_from_minor",
    "seats",
    "state",
    "version",
];

/// A text.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The key of an event.
pub fn event_key(id: Uuid) -> String {
    format!("event#{id}")
}

/// A time as text that sorts by time.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The last second that sorts as text.
pub fn latest() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default()
}

/// The key by which earlier versions stored the events of a city: without a normal form, so that
/// `Zürich` had as many keys as spellings.
pub fn former_city_key(city: &str) -> String {
    city.split_whitespace()
        .map(str::to_lowercase)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Sorts events by their start; the id makes it unique.
pub fn starts_key(starts_at: DateTime<Utc>, id: Uuid) -> String {
    format!("{}#{id}", time(starts_at))
}

/// The item of an event. `written_by` tells one write from another.
pub fn of_event(event: &Event, written_by: u64) -> Item {
    let sections = event.sections.iter().map(of_section).collect();
    let mut item = Item::from([
        ("pk".to_owned(), text(event_key(event.id))),
        ("organiser_id".to_owned(), text(event.organiser_id)),
        ("title".to_owned(), text(&event.title)),
        ("description".to_owned(), text(&event.description)),
        ("city".to_owned(), text(&event.city)),
        ("venue".to_owned(), text(&event.venue)),
        ("starts_at".to_owned(), text(time(event.starts_at))),
        ("currency".to_owned(), text(&event.currency)),
        ("sections".to_owned(), AttributeValue::L(sections)),
        ("seats".to_owned(), number(event.seats())),
        (
            "price_from_minor".to_owned(),
            number(event.price_from_minor()),
        ),
        ("state".to_owned(), text(event.state.as_str())),
        ("is_fixed".to_owned(), AttributeValue::Bool(event.is_fixed)),
        ("version".to_owned(), number(event.version)),
        ("written_by".to_owned(), number(written_by)),
        (
            "expires_at".to_owned(),
            number((event.starts_at + KEEP_AFTER_START).timestamp()),
        ),
    ]);
    if let Some(account) = &event.payout_account {
        item.insert("payout_account".to_owned(), text(account));
    }
    if event.state == State::OnSale {
        // Older versions took names that show nothing, which are no key: such a city cannot be found.
        let city_key = text::key(&event.city);
        if !city_key.is_empty() {
            item.insert("city_key".to_owned(), text(city_key));
        }
        item.insert("on_sale".to_owned(), text(ON_SALE));
        item.insert(
            "starts_key".to_owned(),
            text(starts_key(event.starts_at, event.id)),
        );
    }
    item
}

fn of_section(section: &Section) -> AttributeValue {
    AttributeValue::M(Item::from([
        ("name".to_owned(), text(&section.name)),
        ("rows".to_owned(), number(section.rows)),
        ("seats_per_row".to_owned(), number(section.seats_per_row)),
        ("price_minor".to_owned(), number(section.price_minor)),
    ]))
}

/// The event of an item.
pub fn to_event(item: &Item) -> Result<Event, Problem> {
    let sections = match item.get("sections") {
        Some(AttributeValue::L(sections)) => sections.iter().map(to_section).collect(),
        _ => Err(unreadable("sections")),
    };
    Ok(Event {
        id: id_of(item)?,
        organiser_id: parsed(item, "organiser_id")?,
        title: string(item, "title")?.to_owned(),
        description: string(item, "description")?.to_owned(),
        city: string(item, "city")?.to_owned(),
        venue: string(item, "venue")?.to_owned(),
        starts_at: parsed(item, "starts_at")?,
        currency: string(item, "currency")?.to_owned(),
        payout_account: Some(string(item, "payout_account")?.to_owned()),
        sections: sections?,
        state: state(item)?,
        version: parsed(item, "version")?,
        is_fixed: matches!(item.get("is_fixed"), Some(AttributeValue::Bool(true))),
    })
}

fn to_section(section: &AttributeValue) -> Result<Section, Problem> {
    let AttributeValue::M(section) = section else {
        return Err(unreadable("sections"));
    };
    Ok(Section {
        name: string(section, "name")?.to_owned(),
        rows: parsed(section, "rows")?,
        seats_per_row: parsed(section, "seats_per_row")?,
        price_minor: parsed(section, "price_minor")?,
    })
}

/// The short form of an event's item, whole or as an index holds it.
pub fn to_summary(item: &Item) -> Result<EventSummary, Problem> {
    Ok(EventSummary {
        id: id_of(item)?,
        title: string(item, "title")?.to_owned(),
        city: string(item, "city")?.to_owned(),
        venue: string(item, "venue")?.to_owned(),
        starts_at: parsed(item, "starts_at")?,
        currency: string(item, "currency")?.to_owned(),
        price_from_minor: parsed(item, "price_from_minor")?,
        seats: parsed(item, "seats")?,
        state: state(item)?,
        version: parsed(item, "version")?,
    })
}

/// The id of an event's item.
pub fn id_of(item: &Item) -> Result<Uuid, Problem> {
    string(item, "pk")?
        .strip_prefix("event#")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| unreadable("pk"))
}

fn state(item: &Item) -> Result<State, Problem> {
    match string(item, "state")? {
        "draft" => Ok(State::Draft),
        "on_sale" => Ok(State::OnSale),
        _ => Err(unreadable("state")),
    }
}

/// A text or a number as it stands in an item.
pub fn string<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, Problem> {
    match item.get(name) {
        Some(AttributeValue::S(value) | AttributeValue::N(value)) => Ok(value),
        _ => Err(unreadable(name)),
    }
}

/// A text or a number, parsed.
pub fn parsed<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<T, Problem> {
    string(item, name)?.parse().map_err(|_| unreadable(name))
}

/// An item that is not as this program writes it.
pub fn unreadable(name: &'static str) -> Problem {
    Problem::internal(format!("an item of the table has no readable `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial;

    #[test]
    fn an_event_comes_back_from_its_item_as_it_was() {
        let mut event = Event::create(Uuid::now_v7(), trial::draft("Faro"));
        assert_eq!(to_event(&of_event(&event, 1)).unwrap(), event);
        event.state = State::OnSale;
        event.is_fixed = true;
        assert_eq!(to_event(&of_event(&event, 2)).unwrap(), event);
    }

    #[test]
    fn drafts_have_no_place_in_the_indexes_of_what_is_on_sale() {
        let mut event = Event::create(Uuid::now_v7(), trial::draft("Faro"));
        let keys = ["city_key", "on_sale", "starts_key"];
        assert!(
            keys.iter()
                .all(|key| !of_event(&event, 1).contains_key(*key))
        );
        event.state = State::OnSale;
        assert!(
            keys.iter()
                .all(|key| of_event(&event, 1).contains_key(*key))
        );
    }

    #[test]
    fn a_city_has_one_key_however_it_is_spelled() {
        let key = |city: &str| {
            let mut event = Event::create(Uuid::now_v7(), trial::draft(city));
            event.state = State::OnSale;
            of_event(&event, 1).get("city_key").cloned()
        };
        assert_eq!(key("Zürich"), Some(text("zürich")));
        assert_eq!(key("ZU\u{308}RICH"), key("Zürich"));
        assert_eq!(key("  São   PAULO "), key("são paulo"));
        assert_ne!(key("Porto"), key("Porto Alegre"));
        assert_eq!(
            key("\u{200b}"),
            None,
            "as an older version may have stored it"
        );
    }
}
