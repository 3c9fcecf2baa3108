//! Holds that are over, and holds that belong to somebody else.

use std::time::Duration;

use anyhow::{bail, ensure};
use chrono::Utc;
use futures_util::future::try_join_all;
use tests::client::booking::Wanted;
use tests::client::{Budget, OrderState};
use tests::crowd::visit::cards;
use tests::faults::Container;

use crate::stack::{Hall, Stack, eventually, refused_with};

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

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn an_expired_hold_is_free_at_once_and_taken_by_another() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(2, 2).await?;
    let (ann, bob) = (&hall.customers[0], &hall.customers[1]);
    let hold = ann.hold(hall.event_id, &Wanted::Best(2)).await?;
    refused_with(
        bob.hold(hall.event_id, &Wanted::Best(2)).await,
        409,
        "sold-out",
    )?;
    // Nobody sweeps: all who could are frozen until the seats are taken.
    let workers = stack.project.containers("worker").await?;
    let taken = without(&workers, async || {
        let seats: Vec<_> = hold.seats.iter().map(|seat| seat.name.clone()).collect();
        let rest = (hold.expires_at - Utc::now()).to_std().unwrap_or_default();
        ensure!(!rest.is_zero(), "it expired before the workers were frozen");
        tokio::time::sleep(rest + Duration::from_millis(50)).await;
        let once = bob.clone().with_budget(Budget::ONCE);
        let taken = once.hold(hall.event_id, &Wanted::Named(seats)).await?;
        let audit = hall.audit().await?;
        let old = audit.holds.iter().find(|one| one.id == hold.id);
        ensure!(
            old.is_some_and(|old| old.state == "active"),
            "it was swept all the same: {old:?}"
        );
        Ok(taken)
    })
    .await?;
    refused_with(ann.order(hold.id, cards::FINE).await, 409, "hold-expired")?;
    let order = bob.order(taken.id, cards::FINE).await?;
    let bound = stack.lease * 2 + Duration::from_secs(15);
    hall.until(1, order.id, OrderState::Paid, bound).await?;
    swept(&hall, Duration::from_secs(5)).await?;
    hall.every_promise_held().await
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
