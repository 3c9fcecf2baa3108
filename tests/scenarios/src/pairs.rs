//! Two parts lost at once, where this is promised to be survived. The leading worker
//! with the leader of etcd stands in `leader`.

use std::time::{Duration, Instant};

use anyhow::ensure;
use client::OrderState;
use crowd::visit::cards;
use faults::{Fault, Kind, Target};

use crate::deadline::A_MOMENT;
use crate::stack::{Stack, eventually};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn orders_are_accepted_without_the_queue_and_a_standby_and_are_paid_once_the_queue_is_back()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 2).await?;
    let faults = [Target::PostgresStandby, Target::Queue].map(|target| Fault {
        target,
        kind: Kind::Kill,
        which: 0,
        lasts: Duration::from_secs(4),
    });
    let (standby, queue) = tokio::try_join!(
        stack.project.strike(&faults[0]),
        stack.project.strike(&faults[1])
    )?;

    // One of two standbys has every commit, so a customer need not wait for the other.
    let ann = hall.customers[0].clone().with_budget(A_MOMENT);
    let mut orders = Vec::new();
    for _ in 0..6 {
        let hold = ann
            .hold(hall.event_id, &client::booking::Wanted::Best(1))
            .await?;
        orders.push(ann.order(hold.id, cards::FINE).await?);
    }
    tokio::time::sleep(faults[0].lasts).await;
    for order in &orders {
        let order = ann.read_order(order.id).await?;
        ensure!(order.state == OrderState::Pending, "{order:?}");
    }

    let localstack = queue.struck()[0].clone();
    queue.undo().await?;
    eventually(Duration::from_secs(40), "the queue is well", async || {
        Ok(localstack.is_well().await?.then_some(()))
    })
    .await?;
    let back = Instant::now();
    for order in &orders {
        hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
            .await?;
    }
    println!(
        "the queue is back, the standby is not: all were paid after {:?}",
        back.elapsed()
    );
    standby.undo().await?;
    stack.heal(Duration::from_secs(60)).await?;
    hall.every_promise_held().await
}
