//! Promise 6 without the group of a message, the relay's rule that one row of a group is in flight,
//! and the consumer's rule of the lowest row.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use client::booking::{Wanted, cancel_order};
use crowd::visit::cards;
use messages::audit::Audit;
use messages::bank::Kind;

use crate::system::{System, buy, signed};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: one is enough unless a worker takes longer to begin with a
/// refund than the bank takes for a charge.
const WITHIN: usize = 2;

/// Customers who change their mind while their payment is under way.
const CUSTOMERS: usize = 8;

/// How long all of it may take.
const CANCELLED_WITHIN: Duration = Duration::from_secs(30);

/// So long that no payout comes in between: this is about orders.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_the_fifo_group_the_checker_of_order_finds_a_refund_before_its_charge()
-> anyhow::Result<()> {
    let says = ["took effect out of order"];
    caught_on_a_system(WITHIN, &says, "fifo-group", cards::FINE, drive).await
}

/// Orders with slow cards that are cancelled while the bank is at them: a charge and a refund each.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(1, SETTLEMENT_PERIOD).await?;
    for _ in 0..CUSTOMERS {
        let client = system.customer()?;
        let order = buy(&client, system.event_id, &Wanted::Best(1), cards::SLOW).await?;
        let ask = cancel_order(client.next_key(), order.id);
        client.insist(&signed(&client, ask)).await?;
    }
    let cancelled = |audit: &Audit| {
        let mut orders = audit.orders.iter();
        orders.all(|order| order.state == OrderState::Cancelled)
    };
    let cancelled = system.until(CANCELLED_WITHIN, cancelled).await?;
    let ending = system.ending().await?;
    let books = ending.books.as_deref().context("no books")?;
    let count = |kind| books.iter().filter(|one| one.kind == kind).count();
    Ok(Seen {
        verdict: system.verdict(6).await?,
        guarded: guarded(cancelled, [count(Kind::Charge), count(Kind::Refund)]),
    })
}

/// Each order was charged and refunded, although both were asked for at once.
fn guarded(cancelled: bool, movements: [usize; 2]) -> anyhow::Result<()> {
    ensure!(
        cancelled && movements == [CUSTOMERS; 2],
        "cancelled: {cancelled}, charges and refunds: {movements:?} of {CUSTOMERS}"
    );
    Ok(())
}
