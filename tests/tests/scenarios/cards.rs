//! What cards do: pay, decline, take long, fail once, lose their answer.

use std::time::Duration;

use anyhow::ensure;
use messages::bank::{Kind, Outcome};
use tests::client::OrderState;
use tests::crowd::visit::cards;

use crate::stack::{Hall, Stack, eventually, refused_with};

/// Charges in the bank's books, by how they ended.
async fn charges(hall: &Hall, order_id: uuid::Uuid) -> anyhow::Result<Vec<Outcome>> {
    let movements = hall.stack.bank.movements_for(order_id).await?;
    Ok(movements
        .iter()
        .filter(|m| m.kind == Kind::Charge)
        .map(|m| m.outcome)
        .collect())
}

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
    ensure!(charges(&hall, order.id).await? == [Outcome::Declined, Outcome::Succeeded]);
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
    let available = hall.customers[0].availability(hall.event_id).await?;
    ensure!(available.free == 20, "{available:?}");
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
    ensure!(charges(&hall, order.id).await? == [Outcome::Succeeded]);
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_whose_answer_is_lost_is_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::ANSWER_LOST).await?;
    let booked = eventually(
        Duration::from_secs(5),
        "the bank has the money",
        async || {
            let charges = charges(&hall, order.id).await?;
            Ok((!charges.is_empty()).then_some(charges))
        },
    )
    .await?;
    let pending = hall.customers[0].read_order(order.id).await?;
    ensure!(
        pending.state == OrderState::Pending,
        "its answer was not lost: {booked:?}"
    );
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(30))
        .await?;
    ensure!(charges(&hall, order.id).await? == [Outcome::Succeeded]);
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_that_outlasts_its_time_out_is_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::VERY_SLOW).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(30))
        .await?;
    ensure!(charges(&hall, order.id).await? == [Outcome::Succeeded]);
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_slow_card_holds_up_no_other_order() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 2).await?;
    for _ in 0..4 {
        hall.order(0, cards::VERY_SLOW).await?;
    }
    let quick = hall.order(1, cards::FINE).await?;
    hall.until(1, quick.id, OrderState::Paid, Duration::from_secs(5))
        .await?;
    hall.every_promise_held().await
}
