//! Holds that are over, and holds that belong to somebody else.

use std::time::Duration;

use anyhow::{bail, ensure};
use chrono::Utc;
use client::OrderState;
use client::booking::Wanted;
use crowd::visit::cards;

use crate::stack::{Stack, eventually, refused_with};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_hold_stolen_by_another_customer_is_not_found() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 2).await?;
    let (ann, eve) = (&hall.customers[0], &hall.customers[1]);
    let hold = ann.hold(hall.event_id, &Wanted::Best(1)).await?;
    refused_with(eve.read_hold(hold.id).await, 404, "not-found")?;
    refused_with(eve.order(hold.id, cards::FINE).await, 404, "not-found")?;
    let released = eve.release(hold.id).await;
    let still = ann.read_hold(hold.id).await?;
    ensure!(
        still.state == "active",
        "{released:?} made it {}",
        still.state
    );
    let order = ann.order(hold.id, cards::FINE).await?;
    refused_with(eve.read_order(order.id).await, 404, "not-found")?;
    refused_with(eve.cancel(order.id).await, 404, "not-found")?;
    refused_with(eve.give_card(order.id, cards::FINE).await, 404, "not-found")?;
    refused_with(eve.tickets(order.id).await, 404, "not-found")?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn an_order_that_races_the_expiry_gets_the_seats_or_leaves_them() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 16).await?;
    let mut tasks = Vec::new();
    for number in 0..8 {
        let (ann, bob) = (
            hall.customers[number].clone(),
            hall.customers[number + 8].clone(),
        );
        let hold = ann.hold(hall.event_id, &Wanted::Best(1)).await?;
        let event_id = hall.event_id;
        tasks.push(tokio::spawn(async move {
            let wanted = Wanted::Named(hold.seats.iter().map(|seat| seat.name.clone()).collect());
            // Around the very moment, by more than a busy machine takes to ask.
            let offset = i64::try_from(number).unwrap_or(0) * 60 - 300;
            let offset = chrono::TimeDelta::milliseconds(offset);
            let rest = (hold.expires_at + offset - Utc::now())
                .to_std()
                .unwrap_or_default();
            tokio::time::sleep(rest).await;
            let (ordered, held) =
                tokio::join!(ann.order(hold.id, cards::FINE), bob.hold(event_id, &wanted));
            match (&ordered, &held) {
                (Ok(_), Ok(_)) => bail!("both have the seat"),
                (Err(failure), _) if failure.problem() != Some("hold-expired") => {
                    bail!("the order: {failure}")
                }
                (_, Err(failure)) if failure.problem() != Some("seats-taken") => {
                    bail!("the other hold: {failure}")
                }
                _ => Ok((ordered.is_ok(), held.is_ok())),
            }
        }));
    }
    for task in tasks {
        println!("ordered, held by another: {:?}", task.await??);
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_sweep_tidies_an_abandoned_hold_within_a_sweep() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let hold = hall.customers[0]
        .hold(hall.event_id, &Wanted::Best(3))
        .await?;
    let rest = (hold.expires_at - Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(rest).await;
    let bound = Duration::from_secs(2) + Duration::from_millis(500);
    eventually(bound, "the hold is swept", async || {
        let audit = hall.audit().await?;
        let swept = audit.holds.iter().all(|hold| hold.state == "expired")
            && audit.seats.iter().all(|seat| seat.hold_id.is_none());
        Ok(swept.then_some(()))
    })
    .await?;
    refused_with(
        hall.customers[0].order(hold.id, cards::FINE).await,
        409,
        "hold-expired",
    )?;
    hall.check(&[1, 2, 4]).await
}
