//! Cards that take long, or lose their answer. The bank has the money seconds before the ledger
//! knows of it, and whoever judges money has to wait until both agree: so these run alone.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use client::OrderState;
use crowd::visit::cards;
use futures_util::future::try_join_all;
use messages::bank::Outcome;

use crate::deadline::TRIES;
use crate::stack::{Hall, Stack, eventually};

/// A worker gives up on an answer of the bank after five seconds, and an order that has to wait for
/// that is settled so much later than its row was sent.
const HELD_UP: TimeDelta = TimeDelta::seconds(4);

/// A payment whose answer was lost is tried again after at least so long.
const TRIED_AGAIN: TimeDelta = TimeDelta::seconds(1);

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_charge_whose_answer_is_lost_is_made_once() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::ANSWER_LOST).await?;
    let booked = eventually(
        Duration::from_secs(5),
        "the bank has the money",
        async || {
            let movements = hall.stack.bank.movements_for(order.id).await?;
            Ok(movements.into_iter().next())
        },
    )
    .await?;
    let pending = hall.customers[0].read_order(order.id).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(30))
        .await?;
    // A busy machine may have looked too late: then the ledger and the books say when each knew.
    let ledger = hall.audit().await?.ledger;
    let line = ledger.iter().find(|line| line.order_id == Some(order.id));
    let later = line.context("no line of the ledger")?.created_at - booked.created_at;
    ensure!(
        pending.state == OrderState::Pending || later >= TRIED_AGAIN,
        "its answer was not lost: {booked:?}, in the ledger {later} later"
    );
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
    // A busy machine may hold up an order, but not each time.
    let mut times = Vec::new();
    while times.iter().all(|took| *took >= HELD_UP) {
        ensure!(times.len() < TRIES as usize, "held up: {times:?}");
        times.push(beside_slow_cards(&hall).await?);
        hall.quiet().await?;
    }
    println!("an order beside slow ones was settled after {times:?}");
    hall.every_promise_held().await
}

/// How long after its row was sent an order is settled beside slow ones, by the database's clock.
async fn beside_slow_cards(hall: &Hall) -> anyhow::Result<TimeDelta> {
    try_join_all((0..4).map(|_| hall.order(0, cards::VERY_SLOW))).await?;
    let quick = hall.order(1, cards::FINE).await?;
    hall.until(1, quick.id, OrderState::Paid, Duration::from_secs(5))
        .await?;
    let rows = hall.payment_rows(quick.id).await?;
    let row = rows.first().context("no row for the payment")?;
    // One that was sent again was held up for longer than its last sending says.
    if row.sends > 1 {
        return Ok(HELD_UP);
    }
    let times = row.delivered_at.zip(row.sent_at);
    let (delivered_at, sent_at) = times.context("neither sent nor delivered")?;
    Ok(delivered_at - sent_at)
}
