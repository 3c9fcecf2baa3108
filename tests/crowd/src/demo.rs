//! The demo data that the README uses: an organiser, two customers, an event that is on sale.
//!
//! Making it is idempotent: what is there already is left alone, and an event that has begun is
//! followed by another. The demo accounts are public on purpose: their password stands in the
//! README, and they own nothing but sandbox money.

use anyhow::Context;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use messages::seating::Section;
use uuid::Uuid;

use client::catalog::NewEvent;
use client::{Client, EventView, Failure};

/// Password of all demo accounts, documented in the README.
pub const PASSWORD: &str = "demo-password";

/// Who owns the demo event.
pub const ORGANISER: &str = "demo-organiser@boxoffice.example";

/// Who buys.
pub const CUSTOMERS: [(&str, &str); 2] = [
    ("alice@boxoffice.example", "Alice"),
    ("bob@boxoffice.example", "Bob"),
];

/// Title of the demo event.
pub const TITLE: &str = "Demo night";

/// Where it is: nothing else is in this city, so that the pages find it first.
pub const CITY: &str = "Vienna";

/// Its seats: 480 in the stalls and 1,020 in the balcony.
const SECTIONS: [(&str, u32, i64); 2] = [("Stalls", 24, 6_500), ("Balcony", 51, 4_500)];

/// Seats in a row.
const SEATS_PER_ROW: u32 = 20;

/// Makes what is missing; tells the id of the demo event.
///
/// # Errors
/// Something could not be made.
pub async fn prepare(visitor: &Client) -> anyhow::Result<Uuid> {
    let organiser = account(visitor, ORGANISER, "Demo organiser", "organiser").await?;
    for (email, name) in CUSTOMERS {
        account(visitor, email, name, "customer").await?;
    }
    let there = all_events(&organiser).await?;
    let tomorrow = Utc::now() + TimeDelta::days(1);
    let fresh = there
        .iter()
        .find(|event| event.title == TITLE && event.starts_at > tomorrow);
    let event_id = match fresh {
        Some(event) => event.id,
        None => {
            let event = NewEvent {
                title: TITLE.to_owned(),
                city: CITY.to_owned(),
                starts_at: in_a_year(),
                payout_account: "4242424242424242".to_owned(),
                sections: SECTIONS
                    .map(|(name, rows, price_minor)| Section {
                        name: name.to_owned(),
                        rows,
                        seats_per_row: SEATS_PER_ROW,
                        price_minor,
                    })
                    .to_vec(),
            };
            // The same key as long as it is the same event, so that two who find it missing at
            // once make it once.
            let key = format!("demo-event-{}", there.len());
            organiser
                .create_event(key, &event)
                .await
                .context("the demo event")?
                .id
        }
    };
    // Putting it on sale is idempotent, and repairs what was broken off between the two.
    if fresh.and_then(|event| event.state.as_deref()) != Some("on_sale") {
        organiser
            .publish_event(event_id)
            .await
            .context("the demo event goes on sale")?;
    }
    Ok(event_id)
}

/// Tonight in a year: the same for everybody who asks on the same day.
fn in_a_year() -> DateTime<Utc> {
    let day = Utc::now().date_naive() + TimeDelta::days(365);
    let evening = NaiveTime::from_hms_opt(19, 0, 0).unwrap_or_default();
    day.and_time(evening).and_utc()
}

/// Signs in to an account of the demo; makes it first where it is missing.
///
/// # Errors
/// Neither worked.
pub async fn account(
    visitor: &Client,
    email: &str,
    name: &str,
    role: &str,
) -> anyhow::Result<Client> {
    match visitor.sign_in(email, PASSWORD).await {
        Ok(client) => return Ok(client),
        Err(failure) if failure.status() == Some(401) => {}
        Err(failure) => return Err(failure).with_context(|| format!("{email} cannot sign in")),
    }
    let key = format!("demo-{email}");
    match visitor
        .sign_up_with_key(key, email, PASSWORD, name, role)
        .await
    {
        Ok(_) => {}
        // Somebody else made it in between.
        Err(failure) if failure.status() == Some(409) => {}
        Err(failure) => return Err(failure).with_context(|| format!("{email} cannot sign up")),
    }
    visitor
        .sign_in(email, PASSWORD)
        .await
        .with_context(|| format!("{email} cannot sign in"))
}

async fn all_events(organiser: &Client) -> Result<Vec<EventView>, Failure> {
    let mut events = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..10 {
        let page = organiser.my_events(cursor.as_deref()).await?;
        events.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(events)
}
