//! The parts paused, not killed: they still take connections, and never answer. Whoever asks has
//! to give up by himself, and is bounded all the same.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use client::booking::Wanted;
use client::catalog::NewEvent;
use client::{Budget, Client, Failure, Hold, Order, OrderState};
use crowd::visit::cards;
use faults::Container;
use futures_util::future::{join_all, try_join_all};
use messages::bank::Outcome;
use uuid::Uuid;

use crate::deadline::{A_MOMENT, TRIES, generous};
use crate::hall::look;
use crate::redis_lost::NODES;
use crate::stack::{Hall, Stack, eventually, is_shed, refused_with, unavailable, unless_shed};

/// How long a part stays paused while it is asked for.
const PAUSE: Duration = Duration::from_secs(4);

/// How long a purchase may take whose writes, every other time, are handed to a replica that hangs:
/// half of the time for which the test stack keeps a hold.
const PURCHASE_BOUND: Duration = Duration::from_secs(10);

/// A pause between holds, so that a hall is enough for all of them.
const BETWEEN_HOLDS: Duration = Duration::from_millis(50);

/// Reads of events that no cache has, sent at once: some more for each replica of `catalog` than it
/// leaves unanswered before it asks DynamoDB no more.
const UNCACHED: usize = 48;

/// Reads one after another, some for each replica.
const IN_TURN: usize = 12;

/// The quickest of them takes less where no request is sent to DynamoDB: about half of the time limit
/// of one (1.1 s).
const AT_ONCE: Duration = Duration::from_millis(500);

/// How long before its start an event is opened that begins while the bank is paused; a busy machine is
/// given a multiple of it.
const AHEAD: TimeDelta = TimeDelta::seconds(20);

/// How long after a part that stands alone woke all has to be well.
const AWAKE_BOUND: Duration = Duration::from_secs(10);

/// Events put on sale one after another, more than failures open the circuit in front of `booking`,
/// and how many of them a busy machine may refuse at first. A catalogue that could not choose its
/// replica would be refused every other time.
const OPENED: usize = 12;
const REFUSED: usize = 2;

/// Reads of each service that has replicas.
const READS: [&str; 3] = ["catalog", "identity", "booking"];

async fn read(client: &Client, service: &str, event_id: Uuid) -> Result<(), Failure> {
    match service {
        "catalog" => client.event(event_id).await.map(drop),
        "identity" => client.me().await.map(drop),
        _ => client.availability(event_id).await.map(drop),
    }
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_paused_replica_costs_time_and_no_read_that_one_retry_does_not_repair()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    for service in READS {
        let replica = stack.project.one(service).await?;
        let took = replica
            .paused(async || {
                let began = Instant::now();
                let (mut reads, mut failed, mut slowest) = (0, 0, Duration::ZERO);
                while began.elapsed() < PAUSE {
                    for asked_of in READS {
                        reads += 1;
                        let asked = Instant::now();
                        let done = read(&once, asked_of, hall.event_id).await;
                        slowest = slowest.max(asked.elapsed());
                        if let Err(failure) = done {
                            println!("{service} is paused: {asked_of}: {failure}");
                            // An honest refusal, before the client itself gives up.
                            unavailable(Err::<(), _>(failure))?;
                            failed += 1;
                            unless_shed(async || read(&once, asked_of, hall.event_id).await)
                                .await?;
                        }
                    }
                }
                println!("{service} is paused: {failed} of {reads} reads failed, {slowest:?}");
                // A write that was handed to it is given up by the door, and repeated by its key.
                hall.purchase_within(0, PURCHASE_BOUND).await
            })
            .await?;
        println!("{service} is paused: a purchase took {took:?}");
        let took = hall.purchase_within(0, Duration::from_secs(10)).await?;
        println!("{service} is awake: a purchase took {took:?}");
    }
    // What the paused replica found when it woke had been done by another meanwhile.
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_write_that_a_paused_replica_was_handed_is_given_up_in_time_for_its_hold()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(500, 1).await?;
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    let replica = stack.project.one("booking").await?;
    replica
        .paused(async || {
            let began = Instant::now();
            let (mut holds, mut failed, mut slowest) = (0, 0, Duration::ZERO);
            // Nginx may have left it alone from before; it asks it again after 2 s.
            let is_over = |failed: u32| {
                let waited = began.elapsed();
                waited >= generous(2 * PAUSE) || (waited >= 2 * PAUSE && failed > 0)
            };
            while !is_over(failed) {
                holds += 1;
                let asked = Instant::now();
                let hold = once.hold(hall.event_id, &Wanted::Best(1)).await;
                slowest = slowest.max(asked.elapsed());
                match hold {
                    // An honest refusal, before the client itself gives up: half of a hold is left.
                    Err(failure) => {
                        failed += u32::from(!is_shed(&failure));
                        unavailable(Err::<(), _>(failure))?;
                    }
                    Ok(_) => tokio::time::sleep(BETWEEN_HOLDS).await,
                }
            }
            println!("booking is paused: {failed} of {holds} holds failed, {slowest:?}");
            ensure!(failed > 0, "none was handed to the paused replica");
            Ok(())
        })
        .await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn while_every_node_of_the_sessions_store_is_paused_nobody_is_let_in_and_everybody_may_look()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    for node in NODES {
        stack.project.one(node).await?.pause().await?;
    }
    let looked = async {
        let began = Instant::now();
        unavailable(once.me().await)?;
        unavailable(once.orders(None).await)?;
        println!("without sessions: {:?} for two refusals", began.elapsed());
        let began = Instant::now();
        unless_shed(async || look(&once, hall.event_id).await).await?;
        unless_shed(async || once.availability(hall.event_id).await).await?;
        println!("without sessions: {:?} for four reads", began.elapsed());
        anyhow::Ok(())
    };
    let looked = looked.await;
    for node in NODES {
        stack.project.one(node).await?.unpause().await?;
    }
    looked?;
    let took = hall.purchase_within(0, Duration::from_secs(10)).await?;
    println!("the nodes are awake: a purchase took {took:?}");
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_paused_cache_costs_a_moment_and_no_read() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    let cache = stack.project.one("cache").await?;
    cache
        .paused(async || {
            for _ in 0..10 {
                let began = Instant::now();
                unless_shed(async || look(&once, hall.event_id).await).await?;
                println!("cache is paused: {:?} for three reads", began.elapsed());
            }
            hall.purchase_within(0, Duration::from_secs(5)).await
        })
        .await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn nobody_waits_for_a_paused_document_store_and_events_are_read_soon_after_it_wakes()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let once = stack.visitor().with_budget(Budget::ONCE);
    let store = stack.project.one("dynamodb").await?;
    store
        .paused(async || {
            let began = Instant::now();
            // A read that is given up before DynamoDB's own limit is no failure for a circuit.
            for _ in 0..TRIES {
                let failing = (0..UNCACHED).map(|_| once.event(Uuid::now_v7()));
                for failed in join_all(failing).await {
                    unavailable(failed)?;
                }
                if every_circuit_is_open(&stack).await.is_ok() {
                    break;
                }
            }
            println!("dynamodb is paused: refused for {:?}", began.elapsed());
            every_circuit_is_open(&stack).await?;
            let mut took = Vec::new();
            for _ in 0..IN_TURN {
                let asked = Instant::now();
                unavailable(once.event(Uuid::now_v7()).await)?;
                took.push(asked.elapsed());
            }
            took.sort_unstable();
            println!("dynamodb is paused: refusals took {took:?}");
            // So the circuits refused these without a request to DynamoDB, which would have taken
            // as long as its time limit.
            every_circuit_is_open(&stack).await?;
            ensure!(took[0] < AT_ONCE, "the quickest refusal took {:?}", took[0]);
            // Who has the event's id goes on buying.
            hall.purchase_within(0, Duration::from_secs(5)).await
        })
        .await?;
    let woke = Instant::now();
    let what = "every replica reads events";
    eventually(AWAKE_BOUND, what, async || {
        for _ in 0..IN_TURN {
            let read = once.event(Uuid::now_v7()).await;
            refused_with(read, 404, "not-found")?;
        }
        Ok(Some(()))
    })
    .await?;
    println!(
        "dynamodb is awake: events are read after {:?}, of {AWAKE_BOUND:?}",
        woke.elapsed()
    );
    hall.every_promise_held().await
}

/// On every replica of `catalog` the circuit to DynamoDB is open.
async fn every_circuit_is_open(stack: &Stack) -> anyhow::Result<()> {
    for replica in stack.project.containers("catalog").await? {
        let circuit = stack.metrics(&replica, "catalog_documents_circuit_open");
        let circuit = circuit.await?;
        ensure!(
            circuit == ["catalog_documents_circuit_open 1"],
            "{}: {circuit:?}",
            replica.name()
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn an_order_that_waits_for_a_paused_bank_until_its_event_begins_is_not_paid()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut waited = None;
    for times in 1.. {
        ensure!(times <= TRIES, "nothing was ordered before the event began");
        let mut event = NewEvent::with_seats("Begins while the bank is paused", 20);
        event.starts_at = Utc::now() + AHEAD * i32::try_from(times)?;
        waited = ordered_before_it_begins(&stack, event).await?;
        if waited.is_some() {
            break;
        }
    }
    let (hall, id) = waited.context("nothing was ordered")?;
    let order = eventually(AWAKE_BOUND, "the order is over", async || {
        let order = hall.customers[0].read_order(id).await?;
        ensure!(order.state != OrderState::Paid, "{order:?}");
        let is_over = matches!(order.state, OrderState::Expired | OrderState::Cancelled);
        Ok(is_over.then_some(order))
    })
    .await?;
    println!("the order is {:?}", order.state);
    ensure!(hall.customers[0].tickets(id).await?.is_empty());
    // What the bank took, it gave back.
    let mut moved = stack.bank.movements_for(id).await?;
    moved.retain(|movement| movement.outcome == Outcome::Succeeded);
    ensure!([0, 2].contains(&moved.len()), "{moved:?}");
    let bank = stack.project.one("bank").await?;
    eventually(Duration::from_secs(30), "the bank is well", async || {
        Ok(bank.is_well().await?.then_some(()))
    })
    .await?;
    hall.every_promise_held().await
}

/// A hall for this event with an order that was placed while the bank was paused, until the event had
/// begun; nothing where a busy machine was too slow for that.
async fn ordered_before_it_begins(
    stack: &Stack,
    event: NewEvent,
) -> anyhow::Result<Option<(Hall, Uuid)>> {
    let starts_at = event.starts_at;
    let hall = match stack.hall_of(event, 1).await {
        Err(error) => return too_slow(starts_at, error),
        Ok(hall) => hall,
    };
    let bank = stack.project.one("bank").await?;
    let id = bank
        .paused(async || {
            let order = match hall.order(0, cards::FINE).await {
                Err(error) => return too_slow(starts_at, error),
                Ok(order) => order,
            };
            let rest = starts_at + TimeDelta::seconds(1) - Utc::now();
            tokio::time::sleep(rest.to_std().unwrap_or_default()).await;
            Ok(Some(order.id))
        })
        .await?;
    Ok(id.map(|id| (hall, id)))
}

/// Nothing where the event had begun when this failed: a failure before that is one of the system.
fn too_slow<T>(starts_at: DateTime<Utc>, error: anyhow::Error) -> anyhow::Result<Option<T>> {
    if Utc::now() < starts_at {
        return Err(error);
    }
    println!("too slow: {error:#}");
    Ok(None)
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn orders_wait_for_a_paused_bank_and_are_paid_once_each_when_it_wakes() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let bank = stack.project.one("bank").await?;
    let orders = bank
        .paused(async || {
            let mut orders = Vec::new();
            for _ in 0..4 {
                orders.push(hall.order(0, cards::FINE).await?.id);
            }
            tokio::time::sleep(PAUSE).await;
            for id in &orders {
                let order = hall.customers[0].read_order(*id).await?;
                ensure!(order.state == OrderState::Pending, "{order:?}");
            }
            Ok(orders)
        })
        .await?;
    let back = Instant::now();
    for id in &orders {
        hall.until(0, *id, OrderState::Paid, Duration::from_secs(10))
            .await?;
    }
    println!(
        "the bank is awake: all were paid after {:?}",
        back.elapsed()
    );
    for id in orders {
        let movements = stack.bank.movements_for(id).await?;
        ensure!(movements.len() == 1, "{movements:?}");
    }
    eventually(Duration::from_secs(30), "the bank is well", async || {
        Ok(bank.is_well().await?.then_some(()))
    })
    .await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn an_expired_hold_is_free_at_once_and_taken_by_another() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut hall = stack.hall(2, 2).await?;
    let mut taken = taken_without_a_sweep(&hall).await?;
    // A busy machine may take longer to freeze the workers than a hold lasts.
    for _ in 1..TRIES {
        if taken.is_none() {
            hall = stack.hall(2, 2).await?;
            taken = taken_without_a_sweep(&hall).await?;
        }
    }
    let (hold, order) = taken.context("each hold expired before the workers were frozen")?;
    let ann = &hall.customers[0];
    refused_with(ann.order(hold.id, cards::FINE).await, 409, "hold-expired")?;
    let bound = stack.lease * 2 + Duration::from_secs(15);
    hall.until(1, order.id, OrderState::Paid, bound).await?;
    swept(&hall, Duration::from_secs(5)).await?;
    hall.every_promise_held().await
}

/// Ann's hold of all seats, and bob's order for them after it had expired, while every worker is
/// frozen: none can sweep. Nothing where her hold expired before they were.
async fn taken_without_a_sweep(hall: &Hall) -> anyhow::Result<Option<(Hold, Order)>> {
    let (ann, bob) = (&hall.customers[0], &hall.customers[1]);
    let hold = ann.hold(hall.event_id, &Wanted::Best(2)).await?;
    let other = bob.hold(hall.event_id, &Wanted::Best(2)).await;
    if Utc::now() < hold.expires_at {
        refused_with(other, 409, "sold-out")?;
    }
    let workers = hall.stack.project.containers("worker").await?;
    without(&workers, async || {
        let rest = (hold.expires_at - Utc::now()).to_std().unwrap_or_default();
        if rest.is_zero() {
            return Ok(None);
        }
        tokio::time::sleep(rest + Duration::from_millis(50)).await;
        let seats = hold.seats.iter().map(|seat| seat.name.clone()).collect();
        let taken = bob.hold(hall.event_id, &Wanted::Named(seats)).await?;
        let audit = hall.audit().await?;
        let old = audit.holds.iter().find(|one| one.id == hold.id);
        ensure!(
            old.is_some_and(|old| old.state == "active"),
            "it was swept all the same: {old:?}"
        );
        let order = bob.order(taken.id, cards::FINE).await?;
        Ok(Some((hold.clone(), order)))
    })
    .await
}

/// Does something while these containers are frozen.
async fn without<T>(
    containers: &[Container],
    meanwhile: impl AsyncFnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let frozen = try_join_all(containers.iter().map(Container::pause)).await;
    let done = match frozen {
        Ok(_) => meanwhile().await,
        Err(error) => Err(error),
    };
    try_join_all(containers.iter().map(Container::unpause)).await?;
    done
}

/// Waits until no hold is left that is over and still counts as active.
async fn swept(hall: &Hall, bound: Duration) -> anyhow::Result<()> {
    eventually(bound, "the holds that are over are swept", async || {
        let audit = hall.audit().await?;
        let mut holds = audit.holds.iter();
        let left = holds.any(|hold| hold.state == "active" && hold.expires_at < audit.read_at);
        Ok((!left).then_some(()))
    })
    .await
}

/// The catalogue asks `booking` for the seats, and Nginx does not stand in between: it has to find
/// the replica that answers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn events_go_on_sale_beside_a_paused_replica_of_booking() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(4, 1).await?;
    let once = hall.organiser.client.clone().with_budget(Budget::ONCE);
    let replica = stack.project.one("booking").await?;
    replica
        .paused(async || {
            let mut refused = 0;
            for number in 0..OPENED {
                let began = Instant::now();
                let event = NewEvent::with_seats(format!("Beside a pause, {number}"), 4);
                if let Err(failure) = once.open_event(&event).await {
                    println!("event {number} was refused: {failure}");
                    unavailable(Err::<(), _>(failure))?;
                    refused += 1;
                    let again = once.clone().with_budget(A_MOMENT);
                    again.open_event(&event).await?;
                }
                let took = began.elapsed();
                println!("event {number} was on sale after {took:?}");
            }
            ensure!(refused <= REFUSED, "{refused} of {OPENED} were refused");
            Ok(())
        })
        .await?;
    hall.every_promise_held().await
}
