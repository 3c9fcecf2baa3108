//! Promise 5 where an outbox row counts as delivered when it is sent, and not when its effect is
//! recorded.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use client::booking::Wanted;
use crowd::visit::cards;
use messages::audit::Audit;

use crate::system::{System, buy};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: the driver leaves nothing to chance.
const WITHIN: usize = 1;

/// Orders that wait for the bank when the queue is lost: more than a worker has in hand.
const ORDERS: usize = 30;

/// How long a sent order may take to be final; also once the queue is back.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// So long that no payout comes in between: this is about orders.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn with_rows_marked_on_send_the_checker_of_final_states_finds_the_orders_of_a_lost_queue()
-> anyhow::Result<()> {
    let says = ["is not final"];
    caught_on_a_system(WITHIN, &says, "outbox-marked-on-send", cards::FINE, drive).await
}

/// Orders whose messages wait on a queue that is lost.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(1, SETTLEMENT_PERIOD).await?;
    order(system, 1).await?;
    // As long as no message is lost nothing is missing, whenever rows are marked.
    let settled = system.until(SETTLED_WITHIN, is_settled).await?;
    ensure!(
        settled,
        "an order was not settled although nothing was lost"
    );

    // A bank that is paused keeps what the worker has in hand; the rest stays on the queue.
    let bank = system.bank.as_ref().context("no bank")?;
    bank.signal("STOP").await?;
    let lost = lose_messages(system).await;
    bank.signal("CONT").await?;
    let lost = lost?;
    let settled = system.until(SETTLED_WITHIN, is_settled).await?;
    Ok(Seen {
        verdict: system.verdict(5).await?,
        guarded: guarded(lost, settled),
    })
}

/// Loses the queue while messages wait on it; how many.
async fn lose_messages(system: &System) -> anyhow::Result<u64> {
    order(system, ORDERS).await?;
    let all_sent = |audit: &Audit| audit.outbox.iter().all(|row| row.sent_at.is_some());
    let sent = system.until(SETTLED_WITHIN, all_sent).await?;
    ensure!(sent, "orders were not sent within {SETTLED_WITHIN:?}");
    let lost = system.payments()?.counts().await?.visible;
    system.lose_queue().await?;
    Ok(lost)
}

/// So many customers order a seat each.
async fn order(system: &System, customers: usize) -> anyhow::Result<()> {
    for _ in 0..customers {
        let client = system.customer()?;
        buy(&client, system.event_id, &Wanted::Best(1), cards::FINE).await?;
    }
    Ok(())
}

/// Whether all orders are paid and their tickets are there.
fn is_settled(audit: &Audit) -> bool {
    let mut orders = audit.orders.iter();
    let rendered = audit.tickets.iter().filter(|ticket| ticket.rendered);
    orders.all(|order| order.state == OrderState::Paid) && rendered.count() == audit.orders.len()
}

fn guarded(lost: u64, settled: bool) -> anyhow::Result<()> {
    ensure!(lost > 0, "no message was lost");
    ensure!(settled, "orders were not paid within {SETTLED_WITHIN:?}");
    Ok(())
}
