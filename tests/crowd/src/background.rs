//! The gentle crowd without an end, so that no panel is ever empty: a purchase every few seconds
//! by a handful of customers who keep their sessions, in a small hall that is followed by another
//! every ten minutes.
//!
//! Its halls begin soon after they opened, so that pruning takes them away a day later and a
//! stack left up for a week stays the same size. It also makes the demo data that the README
//! uses, and does only that where `BACKGROUND_CROWD` is `off`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use chrono::{TimeDelta, Utc};
use service::health::Readiness;
use service::{Doors, Listeners, Process};
use tokio::sync::watch;
use uuid::Uuid;

use super::visit::{Cancel, Then, Visit};
use super::{Customer, Gained, demo, meter, run_id};
use client::catalog::{NewEvent, sections};
use client::history::History;
use client::{Budget, Client, Door};

/// How long a hall is sold.
const HALL_TIME: Duration = Duration::from_secs(600);

/// When a hall begins, counted from its opening: soon after its sale ends.
const BEGINS_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Seats of a hall.
const HALL_SEATS: u32 = 200;

/// Between two visits.
const PAUSE: Duration = Duration::from_secs(3);

/// After a failure, before everything is tried afresh.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How often demo data is looked after.
const DEMO_EVERY: Duration = Duration::from_secs(3600);

/// How often somebody signs in again.
const SIGN_IN_EVERY: Duration = Duration::from_secs(60);

/// Customers who keep coming.
const CUSTOMERS: u32 = 4;

/// Settings of `crowd background`.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "crowd background",
    about = "A gentle crowd without an end, and the demo data"
)]
pub struct Settings {
    /// The word `background` itself.
    #[arg(hide = true, value_parser = ["background"])]
    command: String,
    /// Address of Nginx.
    #[arg(long, env = "DOOR_URL", default_value = "http://nginx:8080")]
    door: String,
    /// Whether customers come; the demo data is made either way.
    #[arg(long, env = "BACKGROUND_CROWD", default_value = "on")]
    background_crowd: Switch,
    #[command(flatten)]
    listeners: Listeners,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    #[value(alias = "1", alias = "true")]
    On,
    #[value(alias = "0", alias = "false")]
    Off,
}

impl service::Settings for Settings {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}

/// What the process is made of: one task, and nothing for the world.
///
/// # Errors
/// The client could not be made.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    let history = Arc::new(History::passing(meter::count));
    let name = format!("background-{}", run_id());
    let visitor = Client::visitor(Door::at(&settings.door)?, history, name).with_budget(Budget {
        attempts: 8,
        time: Duration::from_secs(20),
    });
    let crowd = process.clone();
    let (made, is_made) = watch::channel(false);
    process.spawn("crowd", async move {
        tokio::select! {
            () = crowd.draining() => {}
            () = for_ever(&visitor, settings.background_crowd, &made) => {}
        }
        Ok(())
    });
    let demo_is_there = move || {
        let is_made = *is_made.borrow();
        async move {
            anyhow::ensure!(
                is_made,
                "the demo accounts and the demo event are not made yet"
            );
            Ok(())
        }
    };
    Ok(Doors {
        public: Router::new(),
        internal: Router::new(),
        // Whoever waits for the stack finds the demo data there, with a crowd or without.
        readiness: Readiness::new().needs("demo", demo_is_there),
        request_timeout: service::http::REQUEST_TIMEOUT,
    })
}

/// Each round is tried afresh after a failure: the stack may be starting, or somebody kills it.
async fn for_ever(visitor: &Client, customers_come: Switch, made: &watch::Sender<bool>) {
    let mut demo_made: Option<Instant> = None;
    loop {
        let round = async {
            if demo_made.is_none_or(|made| made.elapsed() > DEMO_EVERY) {
                let event_id = demo::prepare(visitor).await?;
                tracing::info!(event.id = %event_id, "the demo accounts and the demo event are there");
                demo_made = Some(Instant::now());
                made.send_replace(true);
            }
            match customers_come {
                Switch::On => one_hall(visitor).await,
                Switch::Off => {
                    tokio::time::sleep(HALL_TIME).await;
                    Ok(())
                }
            }
        };
        if let Err(error) = round.await {
            tracing::warn!(
                error = format!("{error:#}"),
                "the crowd was held up and tries afresh"
            );
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
}

/// Opens a hall and sells it until its time is over or it is full.
async fn one_hall(visitor: &Client) -> anyhow::Result<()> {
    let email = "crowd-organiser@boxoffice.example";
    let organiser = demo::account(visitor, email, "Crowd organiser", "organiser").await?;
    let mut customers = Vec::new();
    for number in 1..=CUSTOMERS {
        let email = format!("crowd-{number}@boxoffice.example");
        let name = format!("Crowd {number}");
        customers.push(demo::account(visitor, &email, &name, "customer").await?);
    }
    let event = NewEvent {
        title: format!("Little hall at {}", Utc::now().format("%H:%M")),
        city: "Graz".to_owned(),
        starts_at: Utc::now() + BEGINS_AFTER,
        payout_account: "4242424242424242".to_owned(),
        sections: sections(HALL_SEATS),
    };
    let event_id = organiser
        .open_event(&event)
        .await
        .context("no hall could be opened")?
        .id;
    tracing::info!(event.id = %event_id, "a little hall is open");
    let mut hall = Hall {
        event_id,
        organiser,
        customers,
        signed_in: Instant::now(),
    };
    let opened = Instant::now();
    let seed = u64::from(rand::random::<u32>());
    for number in 0.. {
        if opened.elapsed() > HALL_TIME {
            break;
        }
        if hall.one_visit(visitor, seed, number).await? == Gained::SoldOut {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The hall that is being sold.
struct Hall {
    event_id: Uuid,
    organiser: Client,
    customers: Vec<Client>,
    signed_in: Instant,
}

impl Hall {
    async fn one_visit(
        &mut self,
        visitor: &Client,
        seed: u64,
        number: u32,
    ) -> anyhow::Result<Gained> {
        let turn = usize::try_from(number).unwrap_or_default() % self.customers.len().max(1);
        if self.signed_in.elapsed() > SIGN_IN_EVERY {
            let email = format!("crowd-{}@boxoffice.example", turn + 1);
            self.customers[turn].sign_out().await?;
            self.customers[turn] = visitor.sign_in(&email, demo::PASSWORD).await?;
            self.signed_in = Instant::now();
        }
        let mut visit = Visit::draw(seed, 0, number);
        // A small hall has to last: small groups, nobody walks away from seats for two minutes.
        visit.pick = super::visit::Pick::Best(1 + number % 2);
        visit.browses = true;
        if visit.then == Then::WalkAway {
            visit.then = Then::Release;
        }
        let customer = Customer {
            client: self.customers[turn].clone(),
            event_id: self.event_id,
        };
        let gained = customer.visit(&visit).await?;
        if gained == Gained::Seats && visit.cancel == Cancel::Never && number.is_multiple_of(5) {
            self.let_one_in(&customer).await?;
        }
        Ok(gained)
    }

    /// The organiser scans one ticket of the customer's newest order, once it is rendered.
    async fn let_one_in(&self, customer: &Customer) -> anyhow::Result<()> {
        let orders = customer.client.orders(None).await?;
        let Some(order) = orders.items.first() else {
            return Ok(());
        };
        for _ in 0..10 {
            let tickets = customer.client.tickets(order.id).await?;
            let Some(ticket) = tickets.first() else {
                return Ok(());
            };
            if let Some(code) = &ticket.code {
                if ticket.state == "valid" {
                    self.organiser.scan(code).await?;
                }
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}
