//! All containers killed at once, and the whole stack started again, as `make up` does it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::OrderState;
use crowd::visit::cards;
use faults::Container;
use futures_util::future::try_join_all;
use tokio::process::Command;

use crate::deadline::generous;
use crate::stack::Stack;

/// How long a cold start may take.
const START_BOUND: Duration = Duration::from_secs(90);

/// How long an order may take to be paid once the stack has started: a lease that a killed leader
/// left expires, then the payment follows.
const PAID_WITHIN: Duration = Duration::from_secs(30);

/// Services that are started before all others, and how long they are alone.
const EARLY: [&str; 5] = ["identity", "catalog", "booking", "worker", "crowd"];
const ALONE: Duration = Duration::from_secs(10);

/// How often all is killed, unless `COLD_STARTS` says otherwise.
const COLD_STARTS: u32 = 1;

/// A process that ends because a store is not usable yet is restarted by the engine, and Compose can
/// count its end as a failure of the whole start: so none may end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn no_process_ends_while_the_stack_starts_after_everything_was_killed() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    for number in 1..=cold_starts()? {
        let order = hall.order(0, cards::FINE).await?;
        let containers = long_lived(&stack).await?;
        try_join_all(containers.iter().map(Container::kill)).await?;
        let began = Instant::now();
        up(stack.project.name()).await?;
        println!("cold start {number} took {:?}", began.elapsed());
        none_ended(&containers).await?;
        hall.until(0, order.id, OrderState::Paid, PAID_WITHIN)
            .await?;
    }
    hall.every_promise_held().await
}

/// As after a restart of the machine: the engine knows no order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_process_that_starts_before_its_stores_waits_for_them() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let order = hall.order(0, cards::FINE).await?;
    let containers = long_lived(&stack).await?;
    try_join_all(containers.iter().map(Container::kill)).await?;
    let (early, late): (Vec<Container>, Vec<Container>) = containers
        .into_iter()
        .partition(|container| EARLY.contains(&container.service.as_str()));
    try_join_all(early.iter().map(Container::start)).await?;
    tokio::time::sleep(ALONE).await;
    try_join_all(late.iter().map(Container::start)).await?;
    stack.heal(START_BOUND).await?;
    none_ended(&early).await?;
    hall.until(0, order.id, OrderState::Paid, PAID_WITHIN)
        .await?;
    hall.every_promise_held().await
}

/// All containers but those that run once.
async fn long_lived(stack: &Stack) -> anyhow::Result<Vec<Container>> {
    let mut containers = stack.project.all().await?;
    let states = try_join_all(containers.iter().map(Container::state)).await?;
    let mut states = states.iter();
    containers.retain(|_| states.next().is_some_and(|state| !state.runs_once));
    Ok(containers)
}

async fn none_ended(containers: &[Container]) -> anyhow::Result<()> {
    for container in containers {
        let restarts = container.state().await?.restarts;
        let name = container.name();
        ensure!(restarts == 0, "{name} ended {restarts} times");
    }
    Ok(())
}

fn cold_starts() -> anyhow::Result<u32> {
    match std::env::var("COLD_STARTS") {
        Ok(text) if !text.is_empty() => text.parse().context("COLD_STARTS is no number"),
        _ => Ok(COLD_STARTS),
    }
}

/// Starts all that the compose files name, and waits until it is healthy; Compose ends with a failure
/// where it is not.
async fn up(project: &str) -> anyhow::Result<()> {
    let limit = generous(START_BOUND);
    let seconds = limit.as_secs().to_string();
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", project, "up", "--detach"])
        .args(["--no-build", "--no-recreate", "--wait", "--wait-timeout"])
        .arg(&seconds)
        .kill_on_drop(true);
    // Compose has a limit of its own.
    let started = tokio::time::timeout(2 * limit, command.output())
        .await
        .context("docker compose up does not end")?
        .context("docker compose")?;
    if !started.status.success() {
        bail!("{}", String::from_utf8_lossy(&started.stderr));
    }
    Ok(())
}
