//! A light load at the door, each request sent once, while something is stopped: no request is lost.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use client::booking::Wanted;
use client::{Budget, Client, Failure, Order, OrderState};
use crowd::visit::cards;
use uuid::Uuid;

use crate::deadline::{TRIES, generous};
use crate::guest::Guest;
use crate::hall::{READS, read_each};
use crate::stack::{Hall, Stack, is_shed};

/// Seats of a hall, more than are ordered while all replicas of a service are stopped in turn, and
/// customers in front of it: two who look around, one who buys, and three who only read.
const SEATS: u32 = 480;
const CUSTOMERS: u32 = 6;

/// The first of those who only read. An account holds seats of an event one request at a time, so what
/// is ordered besides is ordered by these.
pub const READERS: usize = 3;

/// How long an order may take to be paid while neither the workers nor the bank are stopped.
pub const PAID_WITHIN: Duration = Duration::from_secs(10);

/// How long a service waits at least before it sheds a request that the machine is too busy for: the
/// shortest of its time limits. A 503 that comes sooner was caused by the stop.
const SHED_AFTER: Duration = Duration::from_millis(500);

/// How many requests may be shed in one of a few runs. A stop that closes what requests in flight need
/// has more of them shed in most runs.
const SHED: u32 = 1;

/// Somebody at the door, who asks for each thing once.
#[derive(Clone, Debug)]
pub enum Person {
    /// Reads, often enough that some read is always on its way to each replica.
    Reads(Client),
    /// Looks at the event and at himself, and holds a seat for a moment.
    Looks(Client),
    /// Signs in, and out again, because an account has ten sessions at most.
    Signs(Guest),
    /// Buys a seat, and looks at the order until it is paid.
    Buys(Client),
    /// Orders a seat, and does not wait for its payment.
    Orders(Client),
}

impl Person {
    /// Does it once, and counts the requests.
    async fn visit(&self, event_id: Uuid, asked: &mut Asked) -> anyhow::Result<()> {
        match self {
            Self::Reads(once) => {
                asked.more(READS);
                read_each(once, event_id).await?;
            }
            Self::Looks(once) => {
                asked.more(READS);
                read_each(once, event_id).await?;
                asked.more(3);
                let hold = once.hold(event_id, &Wanted::Best(1)).await?;
                once.read_hold(hold.id).await?;
                once.release(hold.id).await?;
            }
            Self::Signs(guest) => {
                asked.more(3);
                let client = guest.sign_in(Budget::ONCE).await?;
                client.me().await?;
                client.sign_out().await?;
            }
            Self::Buys(once) => {
                let order = ordered(once, event_id, asked).await?;
                let began = Instant::now();
                while read(once, &order, asked).await?.state != OrderState::Paid {
                    let is_early = began.elapsed() < generous(PAID_WITHIN);
                    ensure!(is_early, "{} is not paid", order.id);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Self::Orders(once) => {
                let order = ordered(once, event_id, asked).await?;
                read(once, &order, asked).await?;
            }
        }
        Ok(())
    }

    /// What passes between two visits: a hash of a password and a seat cost more than a look.
    fn pause(&self) -> Duration {
        match self {
            Self::Reads(_) | Self::Looks(_) => Duration::from_millis(50),
            Self::Signs(_) | Self::Buys(_) => Duration::from_millis(200),
            Self::Orders(_) => Duration::from_millis(400),
        }
    }
}

async fn ordered(once: &Client, event_id: Uuid, asked: &mut Asked) -> Result<Order, Failure> {
    asked.more(2);
    let hold = once.hold(event_id, &Wanted::Best(1)).await?;
    once.order(hold.id, cards::FINE).await
}

async fn read(once: &Client, order: &Order, asked: &mut Asked) -> Result<Order, Failure> {
    asked.more(1);
    once.read_order(order.id).await
}

/// How many requests were made, and when the last of them were.
#[derive(Debug)]
struct Asked {
    requests: u32,
    last: Instant,
}

impl Asked {
    fn more(&mut self, requests: u32) {
        self.requests += requests;
        self.last = Instant::now();
    }
}

/// What somebody asked for without ever repeating anything.
#[derive(Debug)]
struct Load {
    asked: Asked,
    /// Requests that a service shed because the machine was busy: it was there, and nothing was lost.
    shed: u32,
    failures: Vec<String>,
}

/// Light load until `stop`: each request is sent once, and every failure is written down.
async fn light_load(person: Person, event_id: Uuid, stop: Arc<AtomicBool>) -> Load {
    let mut load = Load {
        asked: Asked {
            requests: 0,
            last: Instant::now(),
        },
        shed: 0,
        failures: Vec::new(),
    };
    while !stop.load(Ordering::SeqCst) {
        if let Err(failure) = person.visit(event_id, &mut load.asked).await {
            let is_late = load.asked.last.elapsed() >= SHED_AFTER;
            if is_late && failure.downcast_ref::<Failure>().is_some_and(is_shed) {
                load.shed += 1;
            } else {
                load.failures.push(format!("{failure:#}"));
            }
        }
        tokio::time::sleep(person.pause()).await;
    }
    load
}

/// What all of them together asked for.
#[derive(Debug)]
struct Judged {
    requests: u32,
    shed: u32,
    failures: Vec<String>,
}

impl Judged {
    fn is_well(&self) -> bool {
        self.failures.is_empty() && self.shed <= SHED
    }
}

/// Stops something while two customers look around, a third one buys in this way, others read, and
/// somebody signs in and out. Every request is answered as if nothing had been stopped, and in the end
/// every order is paid. `stop` tells how many containers had to be killed.
///
/// A busy machine may be the reason that a container had to be killed, that requests failed, or that more
/// than [`SHED`] were shed. So the same load then runs for the same time without a stop. Where as many are
/// shed the stop is well. Where requests failed only with the stop it is not. Else all is done again, a few
/// times.
pub async fn under_light_load(
    buys: fn(Client) -> Person,
    stop: impl AsyncFn(&Hall) -> anyhow::Result<u32>,
) -> anyhow::Result<Hall> {
    let stack = Stack::ready().await?;
    for _ in 0..TRIES {
        let hall = stack.hall(SEATS, CUSTOMERS).await?;
        let killed = Cell::new(0);
        let began = Instant::now();
        let stopped = light_load_during(&hall, buys, async || {
            killed.set(stop(&hall).await?);
            Ok(())
        });
        let stopped = stopped.await?;
        let took = began.elapsed();
        all_are_paid(&hall).await?;
        if stopped.is_well() && killed.get() == 0 {
            return Ok(hall);
        }
        println!("{} containers killed; without a stop:", killed.get());
        let undisturbed = {
            let hall = stack.hall(SEATS, CUSTOMERS).await?;
            light_load_during(&hall, buys, async || {
                tokio::time::sleep(took).await;
                Ok(())
            })
            .await?
        };
        if let Some(first) = stopped.failures.first() {
            ensure!(
                !undisturbed.is_well(),
                "{} of {} lost, such as {first}",
                stopped.failures.len(),
                stopped.requests
            );
        } else if killed.get() == 0 && stopped.shed <= undisturbed.shed + SHED {
            return Ok(hall);
        }
    }
    bail!(
        "in each of {TRIES} runs a container was killed, a request failed, or more were shed than without a stop"
    )
}

/// The light load while `meanwhile` runs.
async fn light_load_during(
    hall: &Hall,
    buys: fn(Client) -> Person,
    meanwhile: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Judged> {
    let customer = |number: usize| hall.customers[number].clone().with_budget(Budget::ONCE);
    let mut people = vec![
        Person::Looks(customer(0)),
        Person::Looks(customer(1)),
        buys(customer(2)),
        Person::Signs(Guest::sign_up(&hall.stack).await?),
    ];
    people.extend((READERS..hall.customers.len()).map(|number| Person::Reads(customer(number))));
    let ends = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = people
        .into_iter()
        .map(|person| tokio::spawn(light_load(person, hall.event_id, ends.clone())))
        .collect();
    let done = meanwhile().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ends.store(true, Ordering::SeqCst);
    let mut judged = Judged {
        requests: 0,
        shed: 0,
        failures: Vec::new(),
    };
    for load in loads {
        let load = load.await?;
        judged.requests += load.asked.requests;
        judged.shed += load.shed;
        judged.failures.extend(load.failures);
    }
    println!(
        "{} requests, {} shed, {} failed",
        judged.requests,
        judged.shed,
        judged.failures.len()
    );
    done?;
    Ok(judged)
}

/// Every order that was accepted is paid in the end, and every promise held.
pub async fn all_are_paid(hall: &Hall) -> anyhow::Result<()> {
    hall.quiet().await?;
    let orders = hall.audit().await?.orders;
    let unpaid = orders.iter().find(|order| order.state != OrderState::Paid);
    ensure!(unpaid.is_none(), "of {} orders {unpaid:?}", orders.len());
    println!("{} orders, all paid", orders.len());
    ensure!(!orders.is_empty(), "nothing was ordered");
    hall.every_promise_held().await
}
