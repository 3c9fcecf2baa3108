//! SIGTERM: every process ends within its time, with exit code 0, and no request is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tests::client::booking::Wanted;
use tests::client::{Ask, Budget, Client, Failure, Operation, OrderState};
use tests::crowd::visit::cards;
use uuid::Uuid;

use crate::stack::{Hall, Stack, eventually};

/// What the engine waits for.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// What a customer asked for without ever repeating anything.
#[derive(Debug, Default)]
struct Load {
    asked: u32,
    failures: Vec<String>,
}

/// Light load until `stop`: each request is sent once, and every failure is written down.
async fn light_load(client: Client, event_id: Uuid, stop: Arc<AtomicBool>) -> Load {
    let once = client.with_budget(Budget::ONCE);
    let mut load = Load::default();
    while !stop.load(Ordering::SeqCst) {
        let round = async {
            once.event(event_id).await?;
            once.me().await?;
            once.availability(event_id).await?;
            let hold = once.hold(event_id, &Wanted::Best(1)).await?;
            once.read_hold(hold.id).await?;
            once.release(hold.id).await?;
            Ok::<_, Failure>(())
        };
        load.asked += 6;
        if let Err(failure) = round.await {
            load.failures.push(failure.to_string());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load
}

async fn under_light_load(
    hall: &Hall,
    faults: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = hall
        .customers
        .iter()
        .map(|client| tokio::spawn(light_load(client.clone(), hall.event_id, stop.clone())))
        .collect();
    let done = faults().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    let (mut asked, mut failures) = (0, Vec::new());
    for load in loads {
        let load = load.await?;
        asked += load.asked;
        failures.extend(load.failures);
    }
    println!("{asked} requests, {} failed", failures.len());
    done?;
    ensure!(
        failures.is_empty(),
        "{} of {asked} lost, such as {}",
        failures.len(),
        failures[0]
    );
    Ok(())
}

async fn stops_in_time(hall: &Hall, service: &str) -> anyhow::Result<()> {
    for container in hall.stack.project.containers(service).await? {
        let began = Instant::now();
        container.stop(STOP_BOUND + Duration::from_secs(5)).await?;
        let took = began.elapsed();
        let state = container.state().await?;
        println!("{} stopped in {took:?}", container.name());
        ensure!(
            state.exit_code == 0,
            "{} ended with {}",
            container.name(),
            state.exit_code
        );
        ensure!(took <= STOP_BOUND, "{} took {took:?}", container.name());
        container.start().await?;
        hall.stack.project.heal(Duration::from_secs(40)).await?;
        // Nginx asks the names again every second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_identity_stop_without_losing_a_request() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 2).await?;
    under_light_load(&hall, async || stops_in_time(&hall, "identity").await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_catalog_stop_without_losing_a_request() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 2).await?;
    under_light_load(&hall, async || stops_in_time(&hall, "catalog").await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_of_booking_stop_without_losing_a_request() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 2).await?;
    under_light_load(&hall, async || stops_in_time(&hall, "booking").await).await?;
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn workers_stop_in_time_and_payments_in_hand_are_finished_or_given_back() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(60, 2).await?;
    for round in 0..6 {
        hall.order(round % 2, cards::SLOW).await?;
    }
    stops_in_time(&hall, "worker").await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_bank_stops_in_time_and_what_it_was_asked_is_asked_again() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 2).await?;
    for round in 0..6 {
        hall.order(round % 2, cards::SLOW).await?;
    }
    stops_in_time(&hall, "bank").await?;
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_door_finishes_what_is_in_hand_before_it_closes() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let nginx = stack.project.one("nginx").await?;
    // Signing in takes a while: it is in hand when the door is told to close.
    let ann = hall.customers[0].clone().with_budget(Budget::ONCE);
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let ann = ann.clone();
            tokio::spawn(async move {
                let ask = Ask::get(Operation::Browse, "/api/catalog/popular?limit=10");
                ann.ask_once(&ask, 0).await
            })
        })
        .collect();
    let began = Instant::now();
    nginx.stop(STOP_BOUND + Duration::from_secs(5)).await?;
    let took = began.elapsed();
    println!("nginx stopped in {took:?}");
    ensure!(
        nginx.state().await?.exit_code == 0 && took <= STOP_BOUND,
        "{took:?}"
    );
    for asked in asked {
        asked.await??;
    }
    nginx.start().await?;
    eventually(
        Duration::from_secs(10),
        "the door is open again",
        async || Ok(ann.me().await.ok()),
    )
    .await?;
    Ok(())
}
