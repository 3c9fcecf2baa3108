//! A hall for each fault: customers buy in it all the while, probers ask, and when all is quiet
//! the checkers judge it. Its history goes when it was judged, so that a long run takes no more
//! memory than a short one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Stage;
use super::sessions::{self, Sessions};
use checkers::{Ending, Promise, Verdict, verdicts};
use client::catalog::{NewEvent, sections};
use client::history::History;
use client::{Ask, Budget, Client, EventView, Failure, Operation};
use crowd::visit::{Declined, Visit};
use crowd::{Customer, Gained, Organiser, organiser, password, run_id, settle};

/// Seats: more than can be sold while the longest fault lasts.
const SEATS: u32 = 1_500;

/// Customers who buy all the while, each with a pause between two visits.
const BUYERS: u32 = 6;
const BETWEEN_VISITS: Duration = Duration::from_millis(800);

/// Customers whose names the probers use: so many that none of them keeps more seats than an account
/// may, while a part is lost that payments wait for.
const PROBERS: u32 = 8;

/// How long the last visits may take to end: that of a customer who waits for a payment.
const LAST_VISITS: Duration = Duration::from_secs(120);

/// Who comes to a hall, and what they do there.
#[derive(Debug)]
pub struct Guests {
    /// The event.
    pub event_id: Uuid,
    /// Everything that was asked and answered.
    pub history: Arc<History>,
    /// Who signs in and out.
    pub sessions: Sessions,
    buyers: Vec<Client>,
    probers: Vec<Client>,
    organiser: Client,
}

impl Guests {
    /// Opens a hall on a stack that is well.
    ///
    /// # Errors
    /// It could not be opened.
    pub async fn come(stage: &Stage) -> anyhow::Result<Arc<Self>> {
        let run = run_id();
        let history = Arc::new(History::new());
        let visitor = |name: String| Client::visitor(stage.door.clone(), history.clone(), name);
        let organiser = Organiser::sign_up(&visitor(format!("{run}-o")), &run).await?;
        let mut customers = Vec::new();
        for number in 0..BUYERS + PROBERS {
            let visitor = visitor(format!("{run}-{number}"));
            customers.push(organiser::customer(&visitor, &run, number).await?);
        }
        let probers = customers.split_off(customers.len() - PROBERS as usize);
        let (mut emails, password) = (Vec::new(), password());
        let signer = visitor(format!("{run}-s"));
        for number in 0..sessions::ACCOUNTS {
            let email = format!("sessions-{number}-{run}@crowd.example");
            signer
                .sign_up(&email, &password, "In and Out", "customer")
                .await
                .context("nobody could sign up")?;
            emails.push(email);
        }
        let event_id = organiser
            .open(&NewEvent::with_seats(format!("Chaos {run}"), SEATS))
            .await?;
        let once = |client: Client| client.with_budget(Budget::ONCE);
        Ok(Arc::new(Self {
            event_id,
            history,
            sessions: Sessions::of(signer, emails, password),
            buyers: customers,
            probers: probers.into_iter().map(once).collect(),
            organiser: organiser.client,
        }))
    }

    /// One of the customers whose names the probers use; they ask once.
    #[must_use]
    pub fn prober(&self, number: u64) -> &Client {
        let number = usize::try_from(number).unwrap_or_default();
        &self.probers[number % self.probers.len()]
    }

    /// The organiser makes a small event, and puts it on sale.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn publish(&self) -> Result<(), Failure> {
        let mut event = NewEvent::with_seats("After the fault", 0);
        event.sections = sections(10);
        // Over soon, so that pruning takes it away.
        event.starts_at = Utc::now() + TimeDelta::minutes(15);
        let client = &self.organiser;
        let ask = Ask::post(Operation::CreateEvent, "/api/catalog/events")
            .key(client.next_key())
            .json(event.body());
        let draft: EventView = client.ask_once(&ask, 0).await?.read()?;
        let path = format!("/api/catalog/events/{}/publish", draft.id);
        let ask = Ask::post(Operation::PublishEvent, path).about(draft.id);
        client.ask_once(&ask, 0).await.map(drop)
    }

    /// Customers buy until they are told to go home.
    #[must_use]
    pub fn buy(&self, seed: u64) -> Buying {
        let ends = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (number, client) in (0..).zip(&self.buyers) {
            let customer = Customer {
                client: client.clone(),
                event_id: self.event_id,
            };
            let ends = ends.clone();
            tasks.spawn(async move { keep_buying(&customer, seed, number, &ends).await });
        }
        Buying { tasks, ends }
    }

    /// Waits until every order is final and checks every promise.
    pub async fn judge(&self, stage: &Stage) -> Vec<(Promise, Verdict)> {
        let customers: Vec<_> = self
            .buyers
            .iter()
            .chain(&self.probers)
            .map(|client| client.clone().with_budget(Budget::default()))
            .collect();
        settle(self.event_id, &customers, &stage.witnesses, &()).await;
        let ending = Ending::read(self.event_id, &customers, &stage.witnesses).await;
        self.history.look(|records| verdicts(records, &ending))
    }
}

/// Customers at work.
#[derive(Debug)]
pub struct Buying {
    tasks: JoinSet<Vec<String>>,
    ends: CancellationToken,
}

impl Buying {
    /// They go home; gives the visits that were broken off.
    pub async fn go_home(mut self) -> Vec<String> {
        self.ends.cancel();
        let mut failures = Vec::new();
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                match done {
                    Ok(failed) => failures.extend(failed),
                    Err(error) => failures.push(format!("a customer's task ended: {error}")),
                }
            }
        };
        let ended = tokio::time::timeout(LAST_VISITS, all).await;
        if ended.is_err() {
            failures.push(format!(
                "customers were still waiting after {LAST_VISITS:?}"
            ));
        }
        failures
    }
}

async fn keep_buying(
    customer: &Customer,
    seed: u64,
    number: u32,
    ends: &CancellationToken,
) -> Vec<String> {
    let mut failures = Vec::new();
    for visit_number in 0.. {
        let mut visit = Visit::draw(seed, number, visit_number);
        // Nothing is left to expire, which would keep the hall from being judged for minutes.
        if visit.declined == Declined::WalkAway {
            visit.declined = Declined::NewCard;
        }
        tokio::select! {
            () = ends.cancelled() => break,
            () = tokio::time::sleep(BETWEEN_VISITS + visit.pause) => {}
        }
        match customer.visit(&visit).await {
            Ok(Gained::SoldOut) => break,
            Ok(_) => {}
            Err(failure) => failures.push(format!(
                "customer {number}, visit {visit_number}: {failure}"
            )),
        }
    }
    failures
}
