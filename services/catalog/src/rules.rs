//! What an event has to be like. Each refusal names its field.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use messages::seating::{MAX_SEATS, Section};
use problem::Problem;

use crate::event::{Draft, Event, State, to_the_second};

/// Most sections of an event.
pub const MAX_SECTIONS: usize = 20;
/// Most rows of a section, and seats of a row.
const MAX_SIDE: u32 = 200;
/// Highest price of a seat in minor units.
const MAX_PRICE_MINOR: i64 = 100_000_000;
/// Farthest start.
const MAX_AHEAD: TimeDelta = TimeDelta::days(5 * 366);

/// Checks what an organiser sent, at the time `now`.
///
/// # Errors
/// 422 that names the field.
pub fn check(draft: &Draft, now: DateTime<Utc>) -> Result<(), Problem> {
    line("title", &draft.title, 120)?;
    prose("description", &draft.description, 4000)?;
    line("city", &draft.city, 60)?;
    line("venue", &draft.venue, 120)?;
    if draft.starts_at <= now || draft.starts_at > now + MAX_AHEAD {
        return Err(Problem::invalid(
            "starts_at",
            "an event begins in the future, within five years",
        ));
    }
    if draft.currency.len() != 3 || !draft.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Problem::invalid(
            "currency",
            "a currency is three capital letters, such as EUR",
        ));
    }
    let account = &draft.payout_account;
    if account.len() != 16 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::invalid(
            "payout_account",
            "an account number has 16 digits",
        ));
    }
    sections(&draft.sections)
}

/// Checks that a change leaves alone what `booking` was told when the event was published. Until
/// the event is on sale, `booking` may have to be told again, word for word, so title and venue
/// stay as they are as well; afterwards they may be corrected, and tickets keep what was told.
///
/// # Errors
/// 409 that names the field.
pub fn check_fixed(event: &Event, draft: &Draft) -> Result<(), Problem> {
    let is_told_again = event.state == State::Draft;
    let changed = [
        ("sections", event.sections != draft.sections),
        ("currency", event.currency != draft.currency),
        (
            "starts_at",
            event.starts_at != to_the_second(draft.starts_at),
        ),
        (
            "payout_account",
            event.payout_account.as_ref() != Some(&draft.payout_account),
        ),
        ("title", is_told_again && event.title != draft.title),
        ("venue", is_told_again && event.venue != draft.venue),
    ];
    match changed.into_iter().find(|(_, is_changed)| *is_changed) {
        None => Ok(()),
        Some((field, _)) => Err(Problem::conflict(
            "event-on-sale",
            "The event is on sale",
            "once publishing has begun, seats, prices, start and account stay as they are; title \
             and venue until it is done",
        )
        .field(field)),
    }
}

fn sections(sections: &[Section]) -> Result<(), Problem> {
    if sections.is_empty() || sections.len() > MAX_SECTIONS {
        return Err(Problem::invalid(
            "sections",
            "an event has 1 to 20 sections",
        ));
    }
    let mut names = HashSet::new();
    for (index, section) in sections.iter().enumerate() {
        let field = |name: &str| format!("sections[{index}].{name}");
        line(&field("name"), &section.name, 40)?;
        if !names.insert(&section.name) {
            return Err(Problem::invalid(
                field("name"),
                "each section has a name of its own",
            ));
        }
        for (name, side) in [
            ("rows", section.rows),
            ("seats_per_row", section.seats_per_row),
        ] {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(Problem::invalid(field(name), "from 1 to 200"));
            }
        }
        if !(1..=MAX_PRICE_MINOR).contains(&section.price_minor) {
            return Err(Problem::invalid(
                field("price_minor"),
                "from 1 to 100000000 minor units",
            ));
        }
    }
    let seats: u32 = sections
        .iter()
        .map(|section| section.rows * section.seats_per_row)
        .sum();
    if seats > MAX_SEATS {
        return Err(Problem::invalid(
            "sections",
            format!("an event has at most {MAX_SEATS} seats"),
        ));
    }
    Ok(())
}

/// One line of text.
fn line(field: &str, text: &str, longest: usize) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::invalid(field, "may not be empty"));
    }
    if text.contains(['\n', '\r', '\t']) {
        return Err(Problem::invalid(field, "is a single line"));
    }
    prose(field, text, longest)
}

/// Text of several lines.
fn prose(field: &str, text: &str, longest: usize) -> Result<(), Problem> {
    if text.chars().count() > longest {
        return Err(Problem::invalid(
            field,
            format!("has at most {longest} characters"),
        ));
    }
    let is_bad = |c: char| {
        // Neither control characters nor what no XML document may contain.
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || matches!(c, '\u{FFFE}' | '\u{FFFF}')
    };
    if text.contains(is_bad) {
        return Err(Problem::invalid(
            field,
            "may not contain control characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial;

    /// The field at fault, and what makes it so.
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Draft));

    fn field_of(change: impl FnOnce(&mut Draft)) -> Option<String> {
        let mut draft = trial::draft("Faro");
        change(&mut draft);
        check(&draft, Utc::now())
            .err()
            .and_then(|problem| problem.body().field)
    }

    #[test]
    fn a_good_draft_passes() {
        assert_eq!(field_of(|_| {}), None);
        assert_eq!(field_of(|draft| *draft = Draft::example()), None);
        assert_eq!(
            field_of(|draft| draft.description = "two\nlines".to_owned()),
            None
        );
    }

    #[test]
    fn each_refusal_names_its_field() {
        let long = |length| "é".repeat(length);
        let cases: [Case<'_>; 20] = [
            ("title", &|d| d.title = String::new()),
            ("title", &|d| d.title = long(121)),
            ("title", &|d| d.title = "a\nb".to_owned()),
            ("title", &|d| d.title = "a\u{0}b".to_owned()),
            ("title", &|d| d.title = "a\u{ffff}b".to_owned()),
            ("description", &|d| d.description = long(4001)),
            ("city", &|d| d.city = " ".to_owned()),
            ("venue", &|d| d.venue = long(121)),
            ("starts_at", &|d| d.starts_at = Utc::now()),
            ("starts_at", &|d| {
                d.starts_at = Utc::now() + TimeDelta::days(4000)
            }),
            ("currency", &|d| d.currency = "eur".to_owned()),
            ("payout_account", &|d| d.payout_account = "42".to_owned()),
            ("sections", &|d| d.sections.clear()),
            ("sections[0].name", &|d| d.sections[0].name = String::new()),
            ("sections[1].name", &|d| {
                d.sections[1].name = d.sections[0].name.clone()
            }),
            ("sections[0].rows", &|d| d.sections[0].rows = 0),
            ("sections[1].rows", &|d| d.sections[1].rows = 201),
            ("sections[0].seats_per_row", &|d| {
                d.sections[0].seats_per_row = 201
            }),
            ("sections[0].price_minor", &|d| {
                d.sections[0].price_minor = 0
            }),
            ("sections", &|d| {
                d.sections[0].rows = 200;
                d.sections[0].seats_per_row = 101;
            }),
        ];
        for (field, change) in cases {
            assert_eq!(field_of(change).as_deref(), Some(field));
        }
    }

    #[test]
    fn what_booking_was_told_stays_and_the_rest_may_change() {
        let draft = trial::draft("Faro");
        let mut event = Event::create(uuid::Uuid::now_v7(), draft.clone());
        let field_of = |event: &Event, draft: &Draft| {
            let problem = check_fixed(event, draft).err()?;
            assert_eq!(problem.slug(), "event-on-sale");
            problem.body().field
        };
        let city = Draft {
            city: "Porto".to_owned(),
            description: String::new(),
            ..draft.clone()
        };
        let title = Draft {
            title: "Another title".to_owned(),
            ..draft.clone()
        };
        let currency = Draft {
            currency: "CHF".to_owned(),
            ..draft
        };
        assert_eq!(field_of(&event, &city), None);
        assert_eq!(field_of(&event, &title).as_deref(), Some("title"));
        event.state = State::OnSale;
        assert_eq!(field_of(&event, &title), None);
        assert_eq!(field_of(&event, &currency).as_deref(), Some("currency"));
    }
}
