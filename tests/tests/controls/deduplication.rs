//! Promise 3 without deduplication: the delivery mark, the rule of the lowest row, the looks at the
//! order's state, the unique causes of the ledger, the unique tickets, the keys at the bank, and
//! the bank's own look at what is left of a charge.

use std::time::Duration;

use anyhow::{Context, ensure};
use messages::bank::Kind as Movement;
use messages::outbox::{Destination, Kind, Pointer, VERSION};
use queue::{Outgoing, Queue};
use tests::checkers::Verdict;
use tests::client::booking::{Wanted, cancel_order, place_hold, place_order};
use tests::client::{Hold, Order, OrderState};
use tests::crowd::visit::cards;
use uuid::Uuid;

use crate::judge;
use crate::system::{System, signed};
use crate::workshop::{self, Programs};

/// How often each message comes once more.
const AGAIN: usize = 3;

/// So long that no payout comes in between: this is about customers' money.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_deduplication_the_checker_of_money_finds_a_customer_who_was_charged_twice()
-> anyhow::Result<()> {
    let with_guards = drive(workshop::as_it_is().await?).await?;
    let changed = ["booking", "worker", "bank"];
    let without = drive(&workshop::patched("deduplication", &changed).await?).await?;
    ensure!(
        with_guards.movements == [1, 1] && with_guards.stale >= (2 * AGAIN) as f64,
        "with all guards there is one charge and one refund although messages came again: {:?} \
         after {} stale ones",
        with_guards.movements,
        with_guards.stale
    );
    judge(
        &with_guards.verdict,
        &without.verdict,
        &["charged more than once", "refunded more than once"],
    )
}

/// What came of a run.
struct Seen {
    /// Of promise 3.
    verdict: Verdict,
    /// Charges and refunds in the bank's books.
    movements: [usize; 2],
    /// Messages of which the worker says that they had nothing to do.
    stale: f64,
}

/// One purchase that is cancelled, and the message of each step comes several times more.
async fn drive(programs: &Programs) -> anyhow::Result<Seen> {
    let mut system = System::start(programs, cards::FINE).await?;
    let seen = happens_in(&mut system).await;
    system.end().await?;
    seen
}

async fn happens_in(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(1, SETTLEMENT_PERIOD).await?;
    let client = system.customer()?;
    let ask = place_hold(client.next_key(), system.event_id, &Wanted::Best(2));
    let hold: Hold = client.read(&signed(&client, ask)).await?;
    let ask = place_order(client.next_key(), hold.id, cards::FINE);
    let order: Order = client.read(&signed(&client, ask)).await?;
    until(system, order.id, OrderState::Paid).await?;
    deliver_again(system, Kind::Charge).await?;
    let ask = cancel_order(client.next_key(), order.id);
    client.insist(&signed(&client, ask)).await?;
    until(system, order.id, OrderState::Cancelled).await?;
    deliver_again(system, Kind::Refund).await?;

    let ending = system.ending().await?;
    let books = ending.books.as_deref().context("no books")?;
    let count = |kind| books.iter().filter(|one| one.kind == kind).count();
    let worker = system.workers.first().context("no worker")?;
    let stale = r#"queue_messages_total{outcome="stale",queue="payments.fifo"}"#;
    Ok(Seen {
        movements: [count(Movement::Charge), count(Movement::Refund)],
        stale: worker.metric(stale).await?.unwrap_or_default(),
        verdict: system.verdict(3).await?,
    })
}

/// Sends the message of the order's row of this kind again, and waits until all are taken.
async fn deliver_again(system: &System, kind: Kind) -> anyhow::Result<()> {
    let audit = system.audit().await?;
    let of_kind = audit
        .outbox
        .iter()
        .find(|row| row.destination == "payments" && row.kind == kind.as_str());
    let row = of_kind.with_context(|| format!("the order has no row of {kind:?}"))?;
    let queue = Queue::new(
        queue::client(&system.queue().await?),
        Destination::Payments.queue(),
    );
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
    for _ in 0..150 {
        let audit = system.audit().await?;
        if audit
            .orders
            .iter()
            .any(|order| order.id == id && order.state == state)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the order was not {state:?} within 15 s")
}
