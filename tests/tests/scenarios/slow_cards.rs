//! Cards that take long, or lose their answer. The bank has the money seconds before the ledger
//! knows of it, and whoever judges money has to wait until both agree: so these run alone.

use std::time::Duration;

use anyhow::ensure;
use messages::bank::Outcome;
use tests::client::OrderState;
use tests::crowd::visit::cards;

use crate::stack::{Stack, eventually};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_whose_answer_is_lost_is_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::ANSWER_LOST).await?;
    let booked = eventually(
        Duration::from_secs(5),
        "the bank has the money",
        async || {
            let charges = hall.charges(order.id).await?;
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
    ensure!(hall.charges(order.id).await? == [Outcome::Succeeded]);
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_that_outlasts_its_time_out_is_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::VERY_SLOW).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(30))
        .await?;
    ensure!(hall.charges(order.id).await? == [Outcome::Succeeded]);
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
