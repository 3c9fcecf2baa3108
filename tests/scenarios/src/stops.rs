//! SIGTERM: every process ends within its time, with exit code 0, and no request is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::{Budget, OrderState};
use crowd::visit::cards;
use faults::Container;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::deadline::{TRIES, generous};
use crate::light_load::{PAID_WITHIN, Person, READERS, all_are_paid, under_light_load};
use crate::stack::{Hall, Stack, answered, eventually, is_shed};

/// How long the engine waits for all but the nodes of Postgres.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// How many sign-ups are sent at once: half a second's work for two replicas.
const SIGN_UPS: usize = 48;

/// Who is stopped before whom, those of a line at once: first whoever leans on others, as compose
/// does. What is not named here leans on all of it.
const ORDER: [&[&str]; 11] = [
    &["crowd"],
    &["nginx"],
    &["worker", "booking", "catalog", "identity"],
    &["bank", "cache", "localstack", "dynamodb"],
    &["redis-1", "redis-2", "redis-3"],
    &["sentinel-1", "sentinel-2", "sentinel-3"],
    &["haproxy"],
    &["postgres-1"],
    &["postgres-2"],
    &["postgres-3"],
    &["etcd-1", "etcd-2", "etcd-3"],
];

/// Services whose names Nginx asks for.
const BEHIND_NGINX: [&str; 3] = ["booking", "catalog", "identity"];

/// Those of them that are ours, or end with 0 when they are told to stop.
const ENDS_WITH_0: [&str; 7] = [
    "crowd", "nginx", "worker", "booking", "catalog", "identity", "bank",
];

/// How long the whole stack may take to come up again.
const START_BOUND: Duration = Duration::from_secs(90);

/// The exit code of a process that was ended by SIGKILL.
const KILLED: i64 = 137;

/// Stops each container of a service and starts it again; how many of them had to be killed.
pub async fn stops_in_time(hall: &Hall, service: &str) -> anyhow::Result<u32> {
    let mut killed = 0;
    for container in hall.stack.project.containers(service).await? {
        let began = Instant::now();
        // Where it does not end by itself in time the engine kills it, and it ends with another code.
        container.stop_as_composed().await?;
        let took = began.elapsed();
        let code = container.state().await?.exit_code;
        println!("{} stopped in {took:?} with {code}", container.name());
        ensure!(code == 0 || code == KILLED, "it ended with {code}");
        killed += u32::from(code == KILLED);
        container.start().await?;
        hall.stack.heal(Duration::from_secs(40)).await?;
        if BEHIND_NGINX.contains(&service) {
            is_in_use(&hall.stack, &container).await?;
        }
    }
    Ok(killed)
}

/// Waits until Nginx hands requests to a replica that was started: it resolves the names again every
/// second, and leaves a replica alone for 2 s that it found before it listened.
async fn is_in_use(stack: &Stack, replica: &Container) -> anyhow::Result<()> {
    let mut routes = vec!["route=\"/api/"];
    if replica.service == "identity" {
        routes.push("route=\"/internal/session\"");
    }
    eventually(Duration::from_secs(5), "it gets requests", async || {
        let counted = "http_server_request_duration_seconds_count";
        let counted = stack.metrics(replica, counted).await?;
        let gets = |route: &&str| counted.iter().any(|line| line.contains(*route));
        Ok(routes.iter().all(gets).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_identity_stop_without_losing_a_request() -> anyhow::Result<()> {
    under_light_load(Person::Buys, async |hall| {
        stops_in_time(hall, "identity").await
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_catalog_stop_without_losing_a_request() -> anyhow::Result<()> {
    under_light_load(Person::Buys, async |hall| {
        stops_in_time(hall, "catalog").await
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_booking_stop_without_losing_a_request() -> anyhow::Result<()> {
    under_light_load(Person::Buys, async |hall| {
        stops_in_time(hall, "booking").await
    })
    .await?;
    Ok(())
}

/// Nobody notices but by a payment that comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn workers_stop_in_time_and_payments_in_hand_are_finished_or_given_back() -> anyhow::Result<()>
{
    let hall = under_light_load(Person::Orders, async |hall| {
        for round in 0..6 {
            hall.order(READERS + round % 2, cards::SLOW).await?;
        }
        stops_in_time(hall, "worker").await
    })
    .await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, PAID_WITHIN)
        .await?;
    all_are_paid(&hall).await
}

/// Orders are accepted meanwhile, and paid when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_bank_stops_in_time_and_what_it_was_asked_is_asked_again() -> anyhow::Result<()> {
    under_light_load(Person::Orders, async |hall| {
        for round in 0..6 {
            hall.order(READERS + round % 2, cards::SLOW).await?;
        }
        stops_in_time(hall, "bank").await
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_door_finishes_what_is_in_hand_before_it_closes() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let nginx = stack.project.one("nginx").await?;
    // Signing up takes a while: of each password a hash is computed, and each replica computes one at
    // a time.
    let visitor = stack.visitor().with_budget(Budget::ONCE);
    let (mut asked, mut open) = (Vec::new(), 0);
    // A busy machine may look only when most are answered, so more of them are asked for then.
    for _ in 0..TRIES {
        asked.extend((0..SIGN_UPS).map(|_| {
            let visitor = visitor.clone();
            tokio::spawn(async move {
                let email = format!("somebody-{}@crowd.example", Uuid::now_v7());
                let password = crowd::password();
                visitor
                    .sign_up(&email, &password, "Somebody", "customer")
                    .await
            })
        }));
        let are_open = || asked.iter().filter(|asked| !asked.is_finished()).count();
        // Until Nginx has all that are not answered: one whose connection is still to be made is not
        // in flight, and may be refused.
        while in_flight(&stack).await? < are_open() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        open = are_open();
        if open >= SIGN_UPS / 4 {
            break;
        }
    }
    let began = Instant::now();
    nginx.stop(generous(STOP_BOUND)).await?;
    let took = began.elapsed();
    println!("nginx stopped in {took:?}, with {open} of {SIGN_UPS} requests in flight");
    let code = nginx.state().await?.exit_code;
    ensure!(code == 0, "it ended with {code}");
    ensure!(open >= SIGN_UPS / 4, "only {open} requests were in flight");
    let (mut shed, count) = (0, asked.len());
    for asked in asked {
        // On a busy machine some wait too long for their turn to be hashed. They are answered as well.
        match asked.await? {
            Ok(_) => {}
            Err(failure) if is_shed(&failure) => shed += 1,
            Err(failure) => bail!("it was not finished: {failure}"),
        }
    }
    println!("{shed} of them were shed");
    ensure!(shed < count, "all were shed");
    nginx.start().await?;
    eventually(
        Duration::from_secs(10),
        "the door is open again",
        async || Ok(visitor.popular().await.ok()),
    )
    .await?;
    Ok(())
}

/// How many requests Nginx has in flight, but for the one that asks.
async fn in_flight(stack: &Stack) -> anyhow::Result<usize> {
    let status = stack.door.http().get("http://nginx:8081/status");
    let text = answered(status).await?.error_for_status()?.text().await?;
    let words: Vec<_> = text.split_whitespace().collect();
    let writing = words.iter().position(|word| *word == "Writing:");
    let count = writing.and_then(|at| words.get(at + 1)?.parse::<usize>().ok());
    Ok(count
        .context("Nginx does not say how much it writes")?
        .saturating_sub(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn every_container_stops_in_time_and_the_stack_goes_on_where_it_was() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let order = hall.order(0, cards::SLOW).await?;
    let mut groups: BTreeMap<_, Vec<Container>> = BTreeMap::new();
    for container in stack.project.all().await? {
        if !container.state().await?.runs_once {
            let is_named = |names: &&[&str]| names.contains(&container.service.as_str());
            let place = ORDER.iter().position(is_named);
            groups.entry(place).or_default().push(container);
        }
    }
    ensure!(groups.len() > ORDER.len(), "only {:?}", groups.keys());
    let mut broken = Vec::new();
    for containers in groups.values() {
        for done in join_all(containers.iter().map(stopped)).await {
            broken.extend(done.err());
        }
    }
    stack.heal(START_BOUND).await?;
    ensure!(broken.is_empty(), "{broken:#?}");
    let bound = stack.lease * 2 + Duration::from_secs(20);
    hall.until(0, order.id, OrderState::Paid, bound).await?;
    hall.every_promise_held().await
}

/// Stops a container; fails where it has to be killed, after generously more than the engine waits.
async fn stopped(container: &Container) -> anyhow::Result<()> {
    let bound = container.state().await?.stop_timeout;
    let began = Instant::now();
    container.stop(generous(bound)).await?;
    let (took, code) = (began.elapsed(), container.state().await?.exit_code);
    println!(
        "{} stopped in {took:?}, of {bound:?}, with {code}",
        container.name()
    );
    let is_ours = ENDS_WITH_0.contains(&container.service.as_str());
    ensure!(
        code != KILLED && (code == 0 || !is_ours),
        "{} ended with {code}",
        container.name()
    );
    Ok(())
}
