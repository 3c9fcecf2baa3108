//! What cards do: pay, decline, fail once. Those that keep everybody waiting stand in `slow_cards`.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use crowd::visit::cards;
use messages::bank::Outcome;

use crate::stack::{Stack, eventually, refused_with};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_declined_card_keeps_the_seats_until_a_new_one_pays() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::DECLINED).await?;
    let declined = hall
        .until(0, order.id, OrderState::Declined, Duration::from_secs(10))
        .await?;
    ensure!(declined.payment_due_at.is_some(), "nobody says until when");
    let again = hall.customers[0].give_card(order.id, cards::FINE).await?;
    ensure!(again.attempt == 2, "attempt {}", again.attempt);
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    let late = hall.customers[0].give_card(order.id, cards::FINE).await;
    refused_with(late, 409, "order-not-declined")?;
    ensure!(hall.charges(order.id).await? == [Outcome::Declined, Outcome::Succeeded]);
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn cards_that_are_declined_one_after_another_move_no_deadline_and_are_five_at_most()
-> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let placed = hall.order(0, cards::DECLINED).await?;
    let (mut given, mut deadline) = (1, None);
    loop {
        let order = eventually(Duration::from_secs(10), "a card is declined", async || {
            let order = ann.read_order(placed.id).await?;
            Ok((order.state != OrderState::Pending).then_some(order))
        })
        .await?;
        if order.state == OrderState::Expired {
            break;
        }
        ensure!(order.state == OrderState::Declined, "{order:?}");
        let due = order.payment_due_at.context("nobody says until when")?;
        ensure!(*deadline.get_or_insert(due) == due, "it moved: {order:?}");
        match ann.give_card(placed.id, cards::DECLINED).await {
            Ok(_) => given += 1,
            // On a busy machine its time is over before all cards are given: the sweep ends it.
            Err(failure) if failure.problem() == Some("order-not-declined") => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(failure) => return Err(failure.into()),
        }
        ensure!(given <= 5, "a sixth card was taken");
    }
    let charges = hall.charges(placed.id).await?;
    ensure!(
        charges.len() == given && charges.iter().all(|one| *one == Outcome::Declined),
        "{given} cards: {charges:?}"
    );
    // The overview is read on a standby, which may be a moment behind.
    eventually(Duration::from_secs(5), "all seats are free", async || {
        let available = ann.availability(hall.event_id).await?;
        Ok((available.free == 20).then_some(()))
    })
    .await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_declined_order_without_a_new_card_expires_and_frees_its_seats() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::DECLINED).await?;
    hall.until(0, order.id, OrderState::Declined, Duration::from_secs(10))
        .await?;
    let bound = hall.stack.hold + Duration::from_secs(5);
    hall.until(0, order.id, OrderState::Expired, bound).await?;
    // The overview is read on a standby, which may be a moment behind.
    eventually(Duration::from_secs(5), "all seats are free", async || {
        let available = hall.customers[0].availability(hall.event_id).await?;
        ensure!(available.free == 20, "{available:?}");
        Ok(Some(()))
    })
    .await?;
    refused_with(hall.customers[0].cancel(order.id).await, 409, "order-final")?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_that_fails_once_is_asked_for_again_and_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::FAILS_ONCE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(20))
        .await?;
    ensure!(hall.charges(order.id).await? == [Outcome::Succeeded]);
    hall.every_promise_held().await
}
