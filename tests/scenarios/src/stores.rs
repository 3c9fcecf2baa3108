//! The parts below killed: what has a replica is back by itself, what stands alone answers an
//! honest 503 and is back soon after it was started again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::booking::Wanted;
use client::catalog::NewEvent;
use client::{Budget, Failure, OrderState};
use crowd::visit::cards;
use faults::{Container, Target};
use uuid::Uuid;

use crate::deadline::generous;
use crate::hall::{READS, look, read_each};
use crate::leader::etcd_leader;
use crate::patroni;
use crate::stack::{Hall, Stack, eventually, unavailable, unless_shed};

/// For how long purchases may pause when a member of etcd is lost, as promised: so long each of them
/// may take, from the request for a hold to the payment.
const MEMBER_BOUND: Duration = Duration::from_secs(2);

/// For how long reads may fail after a replica was killed, as promised, where none is repeated.
const REPLICA_BOUND: Duration = Duration::from_secs(2);

/// How long a part that stands alone may take until it is used again, as promised, from its start.
const BACK_BOUND: Duration = Duration::from_secs(10);

/// So many purchases in a row are made without it.
const IN_A_ROW: u32 = 10;

/// Kills a member of etcd, and buys. The worker's lease lives through it, and so does that of the
/// primary of Postgres. A busy machine alone may cost a lease, so there is a second try.
async fn nothing_rests_on(
    stack: &Stack,
    member: impl AsyncFn() -> anyhow::Result<Container>,
) -> anyhow::Result<()> {
    let hall = stack.hall(40, 1).await?;
    if let Err(lost) = leases_outlive(stack, &hall, &member().await?).await {
        println!("once more: {lost:#}");
        stack.heal(Duration::from_secs(30)).await?;
        leases_outlive(stack, &hall, &member().await?).await?;
    }
    stack.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

async fn leases_outlive(stack: &Stack, hall: &Hall, member: &Container) -> anyhow::Result<()> {
    let nodes = patroni::nodes(stack).await?;
    let primary = patroni::leader(&nodes).await?;
    let token = stack.leading_worker().await?.1;
    member.kill().await?;
    for _ in 0..IN_A_ROW {
        let took = hall.purchase_within(0, MEMBER_BOUND).await?;
        println!("{} is dead: a purchase took {took:?}", member.name());
    }
    // Longer than a lease whose renewal failed.
    tokio::time::sleep(stack.lease).await;
    let now = stack.leading_worker().await?.1;
    ensure!(now == token, "the leader's token was {token} and is {now}");
    let now = patroni::leader(&nodes).await?;
    ensure!(now == primary, "{now:?} leads, and {primary:?} led");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn purchases_go_on_and_no_lease_is_lost_when_the_leader_of_etcd_is_killed()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    nothing_rests_on(&stack, async || etcd_leader(&stack).await).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn purchases_go_on_and_no_lease_is_lost_when_a_follower_of_etcd_is_killed()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    nothing_rests_on(&stack, async || {
        let leader = etcd_leader(&stack).await?;
        let members = stack.project.holders(Target::EtcdMember).await?;
        let is_follower = |member: &Container| member.service != leader.service;
        members.into_iter().find(is_follower).context("no follower")
    })
    .await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn orders_are_accepted_without_a_majority_of_etcd_and_are_paid_once_it_is_back()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let members = [
        stack.project.one("etcd-1").await?,
        stack.project.one("etcd-2").await?,
    ];
    for member in &members {
        member.kill().await?;
    }
    let workers = stack.project.containers("worker").await?;
    let bound = stack.lease + Duration::from_secs(1);
    eventually(bound, "no worker leads", async || {
        for worker in &workers {
            let leads = stack.metrics(worker, "leader_is_leading").await?;
            if leads != ["leader_is_leading 0"] {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let order = hall.order(0, cards::FINE).await?;
    members[0].start().await?;
    eventually(Duration::from_secs(10), "etcd has a majority", async || {
        Ok(members[0].is_well().await?.then_some(()))
    })
    .await?;
    let back = Instant::now();
    // The new leader of etcd gives each lease its whole time again, and whoever campaigns waits
    // for its own try to be answered.
    let bound = 2 * stack.lease + Duration::from_secs(2);
    hall.until(0, order.id, OrderState::Paid, bound).await?;
    println!("a majority is back: paid after {:?}", back.elapsed());
    stack.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn orders_wait_for_a_bank_that_was_killed_and_are_paid_once_it_is_back() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let bank = stack.project.one("bank").await?;
    bank.kill().await?;
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(hall.order(0, cards::FINE).await?);
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    for order in &orders {
        let order = hall.customers[0].read_order(order.id).await?;
        ensure!(order.state == OrderState::Pending, "{order:?}");
    }
    bank.start().await?;
    let back = Instant::now();
    for order in &orders {
        hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
            .await?;
    }
    println!("the bank is back: all were paid after {:?}", back.elapsed());
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn reads_and_purchases_go_on_without_the_cache() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let cache = stack.project.one("cache").await?;
    cache.kill().await?;
    let ann = hall.customers[0].clone().with_budget(Budget::ONCE);
    for _ in 0..5 {
        let began = Instant::now();
        unless_shed(async || look(&ann, hall.event_id).await).await?;
        println!("without the cache: {:?} for three reads", began.elapsed());
    }
    hall.purchase_within(0, Duration::from_secs(5)).await?;
    cache.start().await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_killed_replica_costs_a_moment_and_no_read_that_one_retry_does_not_repair()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let ann = hall.customers[0].clone();
    let once = ann.clone().with_budget(Budget::ONCE);
    for service in ["catalog", "identity", "booking"] {
        let replica = stack.project.one(service).await?;
        replica.kill().await?;
        let began = Instant::now();
        let mut last_failure = None;
        let mut reads = 0_u32;
        // Until none has failed for as long as they may fail.
        while began.elapsed() < last_failure.unwrap_or_default() + 2 * REPLICA_BOUND {
            let asked = began.elapsed();
            reads += READS;
            if let Err(failure) = read_each(&once, hall.event_id).await {
                println!("{service} is dead for {asked:?}: {failure}");
                last_failure = Some(asked);
                ensure!(asked < generous(REPLICA_BOUND), "reads fail for {asked:?}");
                // One retry repairs it.
                unless_shed(async || read_each(&once, hall.event_id).await).await?;
            }
        }
        println!(
            "{}: {reads} reads, the last that failed was asked at {last_failure:?}, of {REPLICA_BOUND:?}",
            replica.name()
        );
        let took = hall.purchase_within(0, Duration::from_secs(5)).await?;
        println!("{} is dead: a purchase took {took:?}", replica.name());
        replica.start().await?;
        stack.heal(Duration::from_secs(30)).await?;
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_part_that_stands_alone_is_missed_honestly_and_is_back_once_it_is_started_again()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    for service in ["haproxy", "nginx"] {
        let part = stack.project.one(service).await?;
        part.kill().await?;
        let began = Instant::now();
        let hold = once.hold(hall.event_id, &Wanted::Best(1)).await;
        println!("without {service} an answer took {:?}", began.elapsed());
        match (service, hold) {
            ("nginx", Err(Failure::NoAnswer(_))) => {}
            // Answered, before the client itself gives up.
            (_, hold) => unavailable(hold).with_context(|| format!("without {service}"))?,
        }
        part.start().await?;
        let began = Instant::now();
        eventually(BACK_BOUND, "a purchase succeeds", async || {
            Ok(hall.purchase_within(0, BACK_BOUND).await.ok())
        })
        .await?;
        let back = began.elapsed();
        println!(
            "{service} was started again: a purchase succeeded after {back:?}, of {BACK_BOUND:?}"
        );
        stack.heal(Duration::from_secs(40)).await?;
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn events_are_back_once_the_document_store_is_started_again() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let store = stack.project.one("dynamodb").await?;
    store.kill().await?;
    // An id that nobody has asked for is in no cache: whether there is such an event, the store
    // alone could tell.
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    unavailable(once.event(Uuid::now_v7()).await)?;
    // Who has the event's id goes on buying.
    hall.purchase_within(0, Duration::from_secs(5)).await?;
    store.start().await?;
    let began = Instant::now();
    let client = hall.organiser.client.clone();
    eventually(BACK_BOUND, "events can be made again", async || {
        let event = NewEvent::with_seats("After the kill", 10);
        Ok(client.open_event(&event).await.ok())
    })
    .await?;
    let back = began.elapsed();
    println!("dynamodb was started again: an event was made after {back:?}, of {BACK_BOUND:?}");
    hall.every_promise_held().await
}

/// Nginx knows the address of a replica before it serves.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn sessions_are_judged_while_a_replica_of_identity_waits_for_its_database()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(10, 1).await?;
    let once = hall.organiser.client.clone().with_budget(Budget::ONCE);
    let database = stack.project.one("haproxy").await?;
    let replica = stack.project.one("identity").await?;
    database.kill().await?;
    replica.stop_as_composed().await?;
    replica.start().await?;
    // Nginx asks for names once a second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for number in 1..=20 {
        // A draft needs a session, and neither Postgres nor booking.
        let draft = NewEvent::with_seats("Made meanwhile", 10);
        let key = once.next_key();
        let made = unless_shed(async || once.create_event(key.clone(), &draft).await).await;
        made.with_context(|| format!("draft {number}"))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(
        !replica.is_well().await?,
        "the replica has begun to serve without its database"
    );
    database.start().await?;
    stack.heal(Duration::from_secs(40)).await?;
    hall.every_promise_held().await
}
