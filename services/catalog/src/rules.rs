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

/// What an organiser sent, with each line in the one spelling in which it is stored; a line that has
/// none stays as it is, for [`check`] to refuse.
///
/// `before` is the event that a change is made to, once publishing has begun. Older versions of this
/// program stored lines as they were sent, and `booking` was told them so: what is sent back as it
/// stands is not respelled.
pub fn spell(mut draft: Draft, before: Option<&Event>) -> Draft {
    let respell = |line: &mut String, stored: Option<&String>| {
        if stored != Some(&*line)
            && let Ok(spelled) = text::line(line)
        {
            *line = spelled;
        }
    };
    respell(&mut draft.title, before.map(|event| &event.title));
    respell(&mut draft.city, before.map(|event| &event.city));
    respell(&mut draft.venue, before.map(|event| &event.venue));
    if before.is_none_or(|event| event.sections != draft.sections) {
        for section in &mut draft.sections {
            respell(&mut section.name, None);
        }
    }
    draft
}

/// Checks what an organiser sent, at the time `now`. What stands in the event `before` as it is sent,
/// see [`spell`], is not judged again.
///
/// # Errors
/// 422 that names the field.
pub fn check(draft: &Draft, before: Option<&Event>, now: DateTime<Utc>) -> Result<(), Problem> {
    let lines = [
        ("title", &draft.title, before.map(|event| &event.title), 120),
        ("city", &draft.city, before.map(|event| &event.city), 60),
        ("venue", &draft.venue, before.map(|event| &event.venue), 120),
    ];
    for (field, sent, stored, longest) in lines {
        if stored != Some(sent) {
            line(field, sent, longest)?;
        }
    }
    prose("description", &draft.description, 4000)?;
    if draft.starts_at <= now || draft.starts_at > now + MAX_AHEAD {
        return Err(Problem::invalid(
            "starts_at",
            "an event begins in the future, within five years",
        ));
    }
    money::check("currency", &draft.currency)?;
    let account = &draft.payout_account;
    if account.len() != 16 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::invalid(
            "payout_account",
            "an account number has 16 digits",
        ));
    }
    if before.is_some_and(|event| event.sections == draft.sections) {
        return Ok(());
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
        if !names.insert(text::key(&section.name)) {
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
fn line(field: &str, raw: &str, longest: usize) -> Result<(), Problem> {
    let line = text::line(raw).map_err(|refused| Problem::invalid(field, refused.to_string()))?;
    at_most(field, &line, longest)
}

/// Text of several lines, kept as it is sent. A line may be empty, and have tabs.
fn prose(field: &str, raw: &str, longest: usize) -> Result<(), Problem> {
    at_most(field, raw, longest)?;
    for piece in raw.split(['\n', '\r', '\t']) {
        match text::line(piece) {
            Ok(_) | Err(text::Refused::Invisible) => {}
            Err(refused) => return Err(Problem::invalid(field, refused.to_string())),
        }
    }
    Ok(())
}

fn at_most(field: &str, text: &str, longest: usize) -> Result<(), Problem> {
    if text.chars().count() > longest {
        return Err(Problem::invalid(
            field,
            format!("has at most {longest} characters"),
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
        check(&spell(draft, None), None, Utc::now())
            .err()
            .and_then(|problem| problem.body().field)
    }

    #[test]
    fn a_good_draft_passes() {
        assert_eq!(field_of(|_| {}), None);
        assert_eq!(field_of(|draft| *draft = Draft::example()), None);
        assert_eq!(
            field_of(|draft| draft.description = "\ttwo\r\n\nlines".to_owned()),
            None
        );
        // As many letters as a title may have, each sent as two characters.
        assert_eq!(field_of(|draft| draft.title = "e\u{301}".repeat(120)), None);
    }

    #[test]
    fn each_refusal_names_its_field() {
        let long = |length| "é".repeat(length);
        let cases: [Case<'_>; 31] = [
            ("title", &|d| d.title = String::new()),
            ("title", &|d| d.title = long(121)),
            ("title", &|d| d.title = "a\nb".to_owned()),
            ("title", &|d| d.title = "a\u{0}b".to_owned()),
            ("title", &|d| d.title = "a\u{ffff}b".to_owned()),
            ("title", &|d| d.title = "a\u{202e}b".to_owned()),
            ("title", &|d| d.title = format!("a{}", "\u{301}".repeat(20))),
            ("description", &|d| d.description = long(4001)),
            ("description", &|d| d.description = "a\u{0}".to_owned()),
            ("description", &|d| {
                d.description = "a\n\u{2066}b".to_owned()
            }),
            ("venue", &|d| d.venue = "\u{200b}".to_owned()),
            ("city", &|d| d.city = "\u{2060}\u{a0}".to_owned()),
            ("city", &|d| d.city = " ".to_owned()),
            ("venue", &|d| d.venue = long(121)),
            ("starts_at", &|d| d.starts_at = Utc::now()),
            ("starts_at", &|d| {
                d.starts_at = Utc::now() + TimeDelta::days(4000)
            }),
            ("currency", &|d| d.currency = "eur".to_owned()),
            ("currency", &|d| d.currency = "ZZZ".to_owned()),
            ("currency", &|d| d.currency = "XAU".to_owned()),
            ("payout_account", &|d| d.payout_account = "42".to_owned()),
            ("sections", &|d| d.sections.clear()),
            ("sections[0].name", &|d| d.sections[0].name = String::new()),
            ("sections[1].name", &|d| {
                d.sections[1].name = d.sections[0].name.clone()
            }),
            ("sections[1].name", &|d| {
                d.sections[1].name = format!("{} ", d.sections[0].name);
            }),
            ("sections[1].name", &|d| {
                d.sections[1].name = format!("{}\u{200b}", d.sections[0].name.to_uppercase());
            }),
            ("sections[1].name", &|d| {
                d.sections[0].name = "Café".to_owned();
                d.sections[1].name = "Cafe\u{301}".to_owned();
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

    #[test]
    fn lines_are_stored_in_one_spelling() {
        let mut draft = trial::draft(" Zu\u{308}rich ");
        draft.title = "Cafe\u{301} ".to_owned();
        draft.sections[0].name = "\u{a0}S".to_owned();
        let spelled = spell(draft, None);
        assert_eq!(spelled.city, "Zürich");
        assert_eq!(spelled.title, "Café");
        assert_eq!(spelled.sections[0].name, "S");
    }

    #[test]
    fn an_event_that_an_older_version_stored_can_be_changed_and_keeps_what_booking_was_told() {
        let mut draft = trial::draft("Faro");
        draft.title = "Gala ".to_owned();
        draft.venue = "a\u{202e}b".to_owned();
        draft.sections[0].name = "S".to_owned();
        draft.sections[1].name = "S ".to_owned();
        let mut event = Event::create(uuid::Uuid::now_v7(), draft.clone());
        event.is_fixed = true;
        draft.description = "Three lutes.".to_owned();
        let spelled = spell(draft.clone(), Some(&event));
        assert_eq!(spelled, draft, "what stands in the event is kept");
        assert!(check_fixed(&event, &spelled).is_ok());
        assert!(check(&spelled, Some(&event), Utc::now()).is_ok());
        let field = check(&spelled, None, Utc::now()).unwrap_err().body().field;
        assert_eq!(field.as_deref(), Some("venue"), "a new event is judged");
    }
}
