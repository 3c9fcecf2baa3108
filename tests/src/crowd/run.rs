//! One run: an event is opened, customers come, and when all is quiet the promises are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::organiser::customer;
use super::visit::Visit;
use super::{Customer, Gained, Organiser, Report, Summary, meter, run_id};
use crate::checkers::{Ending, PROMISES, Witnesses};
use crate::client::catalog::NewEvent;
use crate::client::{Client, Door};
use crate::history::History;

/// How many accounts are made at once: each costs the server two hashes, one at a time.
const SIGN_UPS: usize = 8;

/// How long orders may take to become final after the last customer left: a declined order waits
/// 120 s for another card before it expires, and a lost queue is sent again.
const SETTLE_BOUND: Duration = Duration::from_secs(180);

/// After so many vain visits to a full hall a customer goes home.
const FULL_HALLS: u32 = 4;

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Customers.
    pub customers: u32,
    /// Seats of the hall.
    pub seats: u32,
    /// How long customers keep coming.
    pub time: Duration,
    /// What choices are drawn from.
    pub seed: u64,
    /// Most visits at once.
    pub concurrency: usize,
    /// Who else is asked in the end.
    pub witnesses: Witnesses,
    /// Where the sandbox pays the organiser.
    pub payout_account: String,
}

/// Runs the plan. `progress` is told what happens: a stage, or that a customer went home.
///
/// # Errors
/// The run could not be made (no event, no accounts, a witness that does not answer). Broken
/// promises are no errors but stand in the report.
pub async fn run(door: Door, plan: &Plan, progress: &impl Progress) -> anyhow::Result<Report> {
    let id = run_id();
    let summary = Arc::new(Summary::default());
    let history = Arc::new(History::watched({
        let summary = summary.clone();
        move |record| {
            summary.count(record);
            meter::count(record);
        }
    }));
    let visitor = |name: String| Client::visitor(door.clone(), history.clone(), name);

    progress.stage(
        &format!("{} customers sign up", plan.customers),
        u64::from(plan.customers),
    );
    let organiser = Organiser::sign_up(&visitor(format!("{id}-organiser")), &id).await?;
    let customers: Vec<Client> = stream::iter(0..plan.customers)
        .map(|number| {
            let visitor = visitor(format!("{id}-{number}"));
            let id = &id;
            async move {
                let client = customer(&visitor, id, number).await;
                progress.step();
                client
            }
        })
        .buffered(SIGN_UPS)
        .try_collect()
        .await?;
    let mut event = NewEvent::with_seats(format!("Crowd {id}"), plan.seats);
    event.payout_account.clone_from(&plan.payout_account);
    let event_id = organiser.open(&event).await?;

    progress.stage(
        &format!("{} customers want {} seats", plan.customers, plan.seats),
        u64::from(plan.customers),
    );
    let began = Instant::now();
    let failures = come(&customers, event_id, plan, progress).await;
    let came_for = began.elapsed();

    progress.stage("waiting until every order is final", 0);
    let settled_in = settle(event_id, &customers, plan, progress).await?;
    progress.stage("checking the promises", 0);
    let ending = Ending::read(event_id, &customers, &plan.witnesses).await?;
    let records = history.records();
    let verdicts: Vec<_> = PROMISES
        .iter()
        .map(|promise| (*promise, promise.verdict(&records, &ending)))
        .collect();
    let mut orders = BTreeMap::new();
    for order in &ending.orders {
        *orders.entry(order.state).or_insert(0) += 1;
    }
    Ok(Report {
        event_id,
        seed: plan.seed,
        came_for,
        settled_in,
        summary,
        orders,
        failures,
        verdicts,
        dropped: history.dropped(),
        history,
        ending,
    })
}

/// Who is told how far a run is.
pub trait Progress: Sync {
    /// A stage begins; it has so many steps, or an unknown number of them (0).
    fn stage(&self, name: &str, steps: u64);
    /// A step was done.
    fn step(&self);
    /// What the stage is about right now.
    fn note(&self, text: &str);
}

/// Nobody is told.
impl Progress for () {
    fn stage(&self, _: &str, _: u64) {}
    fn step(&self) {}
    fn note(&self, _: &str) {}
}

/// All customers come and make visits until they have seats, the time is over or the hall stays
/// full. Gives the failures that made a customer break off a visit.
async fn come(
    customers: &[Client],
    event_id: Uuid,
    plan: &Plan,
    progress: &impl Progress,
) -> Vec<String> {
    let permits = Arc::new(Semaphore::new(plan.concurrency.max(1)));
    let deadline = Instant::now() + plan.time;
    let served = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for (number, client) in (0..).zip(customers) {
        let customer = Customer {
            client: client.clone(),
            event_id,
        };
        let (permits, served, seed) = (permits.clone(), served.clone(), plan.seed);
        tasks.spawn(async move {
            keep_coming(customer, number, seed, deadline, &permits, &served).await
        });
    }
    let mut failures = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(failed) => failures.extend(failed),
            Err(error) => failures.push(format!("a customer's task ended: {error}")),
        }
        progress.step();
        progress.note(&format!("{} have seats", served.load(Ordering::Relaxed)));
    }
    failures
}

async fn keep_coming(
    customer: Customer,
    number: u32,
    seed: u64,
    deadline: Instant,
    permits: &Semaphore,
    served: &AtomicU32,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut full_halls = 0;
    for visit_number in 0.. {
        let visit = Visit::draw(seed, number, visit_number);
        tokio::time::sleep(visit.pause).await;
        let Ok(permit) = permits.acquire().await else {
            break;
        };
        if Instant::now() >= deadline {
            break;
        }
        let gained = customer.visit(&visit).await;
        drop(permit);
        match gained {
            Ok(Gained::Seats) => {
                served.fetch_add(1, Ordering::Relaxed);
                break;
            }
            Ok(Gained::Nothing) => full_halls = 0,
            Ok(Gained::SoldOut) => {
                full_halls += 1;
                if full_halls == FULL_HALLS {
                    break;
                }
                // Somebody may cancel, a hold may expire.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(failure) => {
                failures.push(format!(
                    "customer {number}, visit {visit_number}: {failure}"
                ));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    failures
}

/// Waits until nothing moves any more, at most [`SETTLE_BOUND`]; tells how long it took. What is
/// not settled then is for the checkers to find.
async fn settle(
    event_id: Uuid,
    customers: &[Client],
    plan: &Plan,
    progress: &impl Progress,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        let open = match &plan.witnesses.booking {
            Some(booking) => {
                let audit = booking
                    .audit(event_id)
                    .await
                    .context("the audit cannot be read")?;
                let orders = audit
                    .orders
                    .iter()
                    .filter(|order| !order.state.is_final())
                    .count();
                let rows = audit.outbox.iter();
                orders
                    + rows
                        .filter(|r| r.delivered_at.is_none() && r.dead_at.is_none())
                        .count()
            }
            None => open_orders(customers).await,
        };
        if open == 0 || began.elapsed() >= SETTLE_BOUND {
            return Ok(began.elapsed());
        }
        progress.note(&format!("{open} open"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn open_orders(customers: &[Client]) -> usize {
    let pages = stream::iter(customers)
        .map(|customer| customer.orders(None))
        .buffered(SIGN_UPS);
    pages
        .fold(0, |open, page| async move {
            let orders = page.map(|page| page.items).unwrap_or_default();
            open + orders
                .iter()
                .filter(|order| !order.state.is_final())
                .count()
        })
        .await
}
