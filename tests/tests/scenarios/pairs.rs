//! Two parts lost at once, where this is promised to be survived. The leading worker
//! with the leader of etcd stands in `leader`.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tests::client::{Budget, OrderState};
use tests::crowd::visit::cards;
use tests::faults::{Fault, Kind, Target};

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

    // One of two standbys has every commit: nobody has to ask twice.
    let once = hall.customers[0].clone().with_budget(Budget::ONCE);
    let mut orders = Vec::new();
    for _ in 0..6 {
        let hold = once
            .hold(hall.event_id, &tests::client::booking::Wanted::Best(1))
            .await?;
        orders.push(once.order(hold.id, cards::FINE).await?);
    }
    tokio::time::sleep(faults[0].lasts).await;
    for order in &orders {
        let order = once.read_order(order.id).await?;
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
        let bound = Duration::from_secs(15).saturating_sub(back.elapsed());
        hall.until(0, order.id, OrderState::Paid, bound).await?;
    }
    println!(
        "the queue is back, the standby is not: all were paid after {:?}",
        back.elapsed()
    );
    standby.undo().await?;
    stack.project.heal(Duration::from_secs(60)).await?;
    hall.every_promise_held().await
}
