//! Promise 3 without deduplication: the delivery mark, the rule of the lowest row, the looks at the
//! order's state, the unique causes of the ledger, the unique tickets, the keys at the bank, and
//! the bank's own look at what is left of a charge.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use client::booking::{Wanted, cancel_order};
use crowd::visit::cards;
use messages::audit::Audit;
use messages::bank::Kind as Movement;
use messages::outbox::{Kind, Pointer, VERSION};
use queue::Outgoing;
use uuid::Uuid;

use crate::system::{System, buy, signed};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: the driver leaves nothing to chance.
const WITHIN: usize = 1;

/// How often each message comes once more.
const AGAIN: usize = 3;

/// So long that no payout comes in between: this is about customers' money.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_deduplication_the_checker_of_money_finds_a_customer_who_was_charged_twice()
-> anyhow::Result<()> {
    let says = ["charged more than once", "refunded more than once"];
    caught_on_a_system(WITHIN, &says, "deduplication", cards::FINE, drive).await
}

/// One purchase that is cancelled, and the message of each step comes several times more.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(1, SETTLEMENT_PERIOD).await?;
    let client = system.customer()?;
    let order = buy(&client, system.event_id, &Wanted::Best(2), cards::FINE).await?;
    until(system, order.id, OrderState::Paid).await?;
    deliver_again(system, Kind::Charge).await?;
    let ask = cancel_order(client.next_key(), order.id);
    client.insist(&signed(&client, ask)).await?;
    until(system, order.id, OrderState::Cancelled).await?;
    deliver_again(system, Kind::Refund).await?;

    let ending = system.ending().await?;
    let books = ending.books.as_deref().context("no books")?;
    let count = |kind| books.iter().filter(|one| one.kind == kind).count();
    let movements = [count(Movement::Charge), count(Movement::Refund)];
    let worker = system.workers.first().context("no worker")?;
    let stale = r#"queue_messages_total{outcome="stale",queue="payments.fifo"}"#;
    let stale = worker.metric(stale).await?.unwrap_or_default();
    Ok(Seen {
        verdict: system.verdict(3).await?,
        guarded: guarded(movements, stale),
    })
}

/// One charge and one refund, although the worker says of each message that came again that there
/// was nothing to do.
fn guarded(movements: [usize; 2], stale: f64) -> anyhow::Result<()> {
    ensure!(
        movements == [1, 1] && stale >= (2 * AGAIN) as f64,
        "charges and refunds: {movements:?}, after {stale} stale messages"
    );
    Ok(())
}

/// Sends the message of the order's row of this kind again, and waits until all are taken.
async fn deliver_again(system: &System, kind: Kind) -> anyhow::Result<()> {
    let audit = system.audit().await?;
    let of_kind = audit
        .outbox
        .iter()
        .find(|row| row.destination == "payments" && row.kind == kind.as_str());
    let row = of_kind.with_context(|| format!("the order has no row of {kind:?}"))?;
    let queue = system.payments()?;
    for _ in 0..AGAIN {
        let pointer = Pointer {
            version: VERSION,
            row_id: row.id,
            group_id: row.group_id,
            sequence: row.sequence,
            kind,
            send: row.sends,
            traceparent: None,
        };
        let message = Outgoing {
            id: row.id.to_string(),
            body: serde_json::to_string(&pointer)?,
            group: Some(row.group_id.to_string()),
            deduplication_id: Some(Uuid::now_v7().to_string()),
        };
        let sent = queue.send(vec![message]).await?;
        ensure!(sent.iter().all(|sent| sent.result.is_ok()), "{sent:?}");
    }
    for _ in 0..150 {
        let counts = queue.counts().await?;
        if counts.visible + counts.in_flight == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the queue was not emptied within 15 s")
}

async fn until(system: &System, id: Uuid, state: OrderState) -> anyhow::Result<()> {
    let is_there = |audit: &Audit| {
        let mut orders = audit.orders.iter();
        orders.any(|order| order.id == id && order.state == state)
    };
    let came = system.until(Duration::from_secs(15), is_there).await?;
    ensure!(came, "the order was not {state:?} within 15 s");
    Ok(())
}
