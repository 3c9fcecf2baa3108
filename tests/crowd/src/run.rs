//! One run: an event is opened, customers come, and when all is quiet the promises are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::organiser::customer;
use super::visit::Visit;
use super::{Customer, Gained, Organiser, Report, Summary, meter, run_id};
use checkers::{Ending, Witnesses, verdicts};
use client::catalog::NewEvent;
use client::history::History;
use client::{Availability, Client, Door};
use messages::audit::Audit;

/// How many accounts are made at once: each costs the server two hashes, one at a time.
const SIGN_UPS: usize = 8;

/// How long orders may take to become final after the last customer left: a declined order waits
/// 120 s for another card before it expires, and a lost queue is sent again.
const SETTLE_BOUND: Duration = Duration::from_secs(180);

/// After so many visits in a row to a hall that is sold for good a customer goes home. With the
/// pauses between them that is some fifteen seconds, in which whoever ordered and cancels at once
/// has done so.
const VAIN_VISITS: u32 = 6;

/// The pause after a visit to a full hall, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How long after an unpaid order's time its seats may still be away: a sweep, and a leader that
/// was just elected.
const SWEPT_WITHIN: TimeDelta = TimeDelta::seconds(5);

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
/// The run could not be made (no event, no accounts, a witness that does not answer when it
/// begins). Broken promises are no errors but stand in the report.
pub async fn run(door: Door, plan: &Plan, progress: &impl Progress) -> anyhow::Result<Report> {
    plan.witnesses.answer().await?;
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
    let settled_in = settle(event_id, &customers, &plan.witnesses, progress).await;
    progress.stage("checking the promises", 0);
    let ending = Ending::read(event_id, &customers, &plan.witnesses).await;
    let verdicts = history.look(|records| verdicts(records, &ending));
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

/// What the customers of a run know together.
#[derive(Debug, Default)]
struct Hall {
    /// Who has seats.
    served: AtomicU32,
    /// When the last seats come back that somebody ordered and did not pay, in milliseconds since
    /// the epoch.
    back_at: AtomicI64,
}

impl Hall {
    fn comes_back(&self, at: DateTime<Utc>) {
        let at = (at + SWEPT_WITHIN).timestamp_millis();
        self.back_at.fetch_max(at, Ordering::Relaxed);
    }

    /// Whether it is not worth coming again: nothing is free, nobody holds seats that he may leave,
    /// and no unpaid order will give its seats back.
    fn is_sold_for_good(&self, available: Availability, now: DateTime<Utc>) -> bool {
        available.free + available.held == 0
            && now.timestamp_millis() > self.back_at.load(Ordering::Relaxed)
    }
}

/// All customers come and make visits until they have seats, the time is over or the hall is sold
/// for good. Gives the failures that made a customer break off a visit.
async fn come(
    customers: &[Client],
    event_id: Uuid,
    plan: &Plan,
    progress: &impl Progress,
) -> Vec<String> {
    let permits = Arc::new(Semaphore::new(plan.concurrency.max(1)));
    let deadline = Instant::now() + plan.time;
    let hall = Arc::new(Hall::default());
    let mut tasks = JoinSet::new();
    for (number, client) in (0..).zip(customers) {
        let customer = Customer {
            client: client.clone(),
            event_id,
        };
        let (permits, hall, seed) = (permits.clone(), hall.clone(), plan.seed);
        tasks.spawn(
            async move { keep_coming(customer, number, seed, deadline, &permits, &hall).await },
        );
    }
    let mut failures = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(failed) => failures.extend(failed),
            Err(error) => failures.push(format!("a customer's task ended: {error}")),
        }
        progress.step();
        let served = hall.served.load(Ordering::Relaxed);
        progress.note(&format!("{served} have seats"));
    }
    failures
}

async fn keep_coming(
    customer: Customer,
    number: u32,
    seed: u64,
    deadline: Instant,
    permits: &Semaphore,
    hall: &Hall,
) -> Vec<String> {
    let mut failures = Vec::new();
    let (mut vain, mut pause) = (0, FIRST_PAUSE);
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
        if gained
            .as_ref()
            .is_ok_and(|gained| *gained == Gained::SoldOut)
        {
            let available = customer.client.availability(customer.event_id).await;
            let vainly = available.is_ok_and(|there| hall.is_sold_for_good(there, Utc::now()));
            vain = if vainly { vain + 1 } else { 0 };
        } else {
            (vain, pause) = (0, FIRST_PAUSE);
        }
        drop(permit);
        match gained {
            Ok(Gained::Seats) => {
                hall.served.fetch_add(1, Ordering::Relaxed);
                break;
            }
            Ok(Gained::SoldOut) if vain == VAIN_VISITS => break,
            Ok(Gained::SoldOut) => {
                // Somebody may cancel, a hold may expire.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Ok(Gained::Unpaid { back_at }) => hall.comes_back(back_at),
            Ok(Gained::Nothing) => {}
            Err(failure) => {
                failures.push(format!(
                    "customer {number}, visit {visit_number}: {failure}"
                ));
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
    }
    failures
}

/// Waits until nothing moves any more, at most [`SETTLE_BOUND`]; tells how long it took. What is
/// not settled then is for the checkers to find. A witness that is away is asked again: somebody
/// may just have killed it.
pub async fn settle(
    event_id: Uuid,
    customers: &[Client],
    witnesses: &Witnesses,
    progress: &impl Progress,
) -> Duration {
    let began = Instant::now();
    loop {
        let open = match &witnesses.booking {
            Some(booking) => booking.audit(event_id).await.map(|audit| open_in(&audit)),
            None => Ok(open_orders(customers).await),
        };
        if matches!(open, Ok(0)) || began.elapsed() >= SETTLE_BOUND {
            return began.elapsed();
        }
        let open = match open {
            Ok(open) => format!("{open} orders and messages are not final"),
            Err(error) => format!("{error}"),
        };
        progress.note(&format!(
            "{open} after {} s, of {} s at most",
            began.elapsed().as_secs(),
            SETTLE_BOUND.as_secs()
        ));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn open_in(audit: &Audit) -> usize {
    let orders = audit.orders.iter();
    let orders = orders.filter(|order| !order.state.is_final()).count();
    let rows = audit.outbox.iter();
    let rows = rows.filter(|row| row.delivered_at.is_none() && row.dead_at.is_none());
    orders + rows.count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hall_is_sold_for_good_when_nothing_in_it_can_come_back() {
        let now = Utc::now();
        let there = |free, held| Availability {
            free,
            held,
            sold: 9,
        };
        let hall = Hall::default();
        assert!(hall.is_sold_for_good(there(0, 0), now));
        assert!(!hall.is_sold_for_good(there(1, 0), now));
        assert!(!hall.is_sold_for_good(there(0, 1), now));
        hall.comes_back(now + TimeDelta::seconds(20));
        hall.comes_back(now);
        assert!(!hall.is_sold_for_good(there(0, 0), now + TimeDelta::seconds(21)));
        assert!(hall.is_sold_for_good(there(0, 0), now + TimeDelta::seconds(30)));
    }
}
