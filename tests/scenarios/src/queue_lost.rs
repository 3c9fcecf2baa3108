//! The queue killed with messages in flight: everything in it is lost, its queues included.

use std::time::{Duration, Instant};

use anyhow::ensure;
use client::OrderState;
use crowd::visit::cards;
use messages::outbox::Destination;
use queue::Queue;

use crate::stack::{Stack, eventually};

/// From when the queue is back to the first payment, as promised.
const FIRST_BOUND: Duration = Duration::from_secs(5);

/// Until all that waited is settled, as promised: so long, and what it takes at half of the normal
/// rate. The normal rate is taken to be four orders a second, as in the table of faults.
const ALL_BOUND: Duration = Duration::from_secs(10);
const HALF_THE_RATE: u32 = 2;

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_queue_killed_with_messages_in_flight_loses_no_order_and_keeps_the_order_of_each_group()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(80, 4).await?;
    let localstack = stack.project.one("localstack").await?;
    // In flight: charges that take two seconds, half of them with a refund behind them.
    let mut cancelled = Vec::new();
    for number in 0..12 {
        let order = hall.order(number % 4, cards::SLOW).await?;
        if number % 2 == 0 {
            hall.customers[number % 4].cancel(order.id).await?;
            cancelled.push(order.id);
        }
    }
    localstack.kill().await?;
    // Orders go on being accepted, and stay pending.
    let mut accepted = Vec::new();
    for number in 0..8 {
        let order = hall.order(number % 4, cards::FINE).await?;
        ensure!(order.state == OrderState::Pending);
        if number % 4 == 0 {
            hall.customers[number % 4].cancel(order.id).await?;
            cancelled.push(order.id);
        }
        accepted.push((number % 4, order.id));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (customer, first) = accepted[1];
    let waiting = hall.customers[customer].read_order(first).await?;
    ensure!(waiting.state == OrderState::Pending, "{waiting:?}");

    localstack.start().await?;
    let endpoint =
        std::env::var("SQS_ENDPOINT").unwrap_or_else(|_| "http://localstack:4566".to_owned());
    let queues = Destination::ALL
        .map(|destination| Queue::new(queue::client(&endpoint), destination.queue()));
    eventually(
        Duration::from_secs(40),
        "the queues are there again",
        async || {
            for queue in &queues {
                queue.counts().await?;
            }
            Ok(Some(()))
        },
    )
    .await?;
    let back = Instant::now();
    let waiting = hall.audit().await?.orders;
    let waiting = waiting.iter().filter(|order| !order.state.is_final());
    let all_bound =
        ALL_BOUND + Duration::from_secs(1) * u32::try_from(waiting.count())? / HALF_THE_RATE;
    eventually(FIRST_BOUND, "the first order is paid", async || {
        let audit = hall.audit().await?;
        let paid = |order: &messages::audit::AuditedOrder| {
            accepted.iter().any(|(_, id)| *id == order.id) && order.state == OrderState::Paid
        };
        Ok(audit.orders.iter().any(paid).then_some(()))
    })
    .await?;
    println!(
        "the queue is back: the first order was paid after {:?}, of {FIRST_BOUND:?}",
        back.elapsed()
    );
    eventually(all_bound, "all are final", async || {
        let audit = hall.audit().await?;
        Ok(audit
            .orders
            .iter()
            .all(|order| order.state.is_final())
            .then_some(()))
    })
    .await?;
    println!(
        "the queue is back: all orders were final after {:?}, of {all_bound:?}",
        back.elapsed()
    );
    for order in hall.audit().await?.orders {
        let wanted = if cancelled.contains(&order.id) {
            OrderState::Cancelled
        } else {
            OrderState::Paid
        };
        ensure!(order.state == wanted, "{order:?}");
    }
    hall.every_promise_held().await
}
