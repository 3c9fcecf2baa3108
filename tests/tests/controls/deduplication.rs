//! Promise 3 without deduplication: the delivery mark, the rule of the lowest row, the look at the
//! order's state, the unique causes of the ledger, the unique tickets and the bank's key.

use std::time::Duration;

use anyhow::{Context, ensure};
use messages::outbox::{Destination, Kind, Pointer, VERSION};
use queue::{Outgoing, Queue};
use tests::checkers::{Ending, Violation, money};
use tests::client::booking::{Wanted, place_hold, place_order};
use tests::client::{Hold, Order, OrderState};
use tests::crowd::visit::cards;
use uuid::Uuid;

use crate::judge;
use crate::system::{Scratch, System, signed};
use crate::workshop::{self, Programs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_deduplication_the_checker_of_money_finds_a_customer_who_was_charged_twice()
-> anyhow::Result<()> {
    let build = Scratch::new().await?;
    build.migrate(&workshop::apply("deduplication")?).await?;
    let patched = workshop::patched("deduplication", &build.url())?;
    build.remove().await?;
    let with_guards = drive(&workshop::as_it_is()?).await?;
    let without = drive(&patched).await?;
    judge(&with_guards, &without, "charged more than once")
}

/// One purchase, whose message is delivered three more times.
async fn drive(programs: &Programs) -> anyhow::Result<Vec<Violation>> {
    let mut system = System::start(programs, cards::FINE).await?;
    let found = happens_in(&mut system).await;
    system.end().await?;
    found
}

async fn happens_in(system: &mut System) -> anyhow::Result<Vec<Violation>> {
    system.with_workers(1).await?;
    let client = system.customer()?;
    let wanted = Wanted::Best(2);
    let ask = signed(
        &client,
        place_hold(client.next_key(), system.event_id, &wanted),
    );
    let hold: Hold = client.read(&ask).await?;
    let ask = signed(
        &client,
        place_order(client.next_key(), hold.id, cards::FINE),
    );
    let order: Order = client.read(&ask).await?;
    until_paid(system, order.id).await?;
    let audit = system.audit().await?;
    let row = audit
        .outbox
        .iter()
        .find(|row| row.destination == "payments");
    let row = row.context("the order has no row")?;
    let queue = Queue::new(
        queue::client(&system.queue().await?),
        Destination::Payments.queue(),
    );
    for _ in 0..3 {
        let pointer = Pointer {
            version: VERSION,
            row_id: row.id,
            group_id: row.group_id,
            sequence: row.sequence,
            kind: Kind::Charge,
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
    until_empty(&queue).await?;
    let bank = system.books()?;
    let ending = Ending {
        audit: Some(system.audit().await?),
        ledger: Some(system.ledger().await?),
        books: Some(bank.movements().await?),
        balance: Some(bank.balance().await?),
        ..Ending::default()
    };
    Ok(money::check(&[], &ending))
}

async fn until_paid(system: &System, id: Uuid) -> anyhow::Result<()> {
    for _ in 0..150 {
        let audit = system.audit().await?;
        if audit
            .orders
            .iter()
            .any(|order| order.id == id && order.state == OrderState::Paid)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the order was not paid within 15 s")
}

async fn until_empty(queue: &Queue) -> anyhow::Result<()> {
    for _ in 0..150 {
        let counts = queue.counts().await?;
        if counts.visible + counts.in_flight == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the queue was not emptied within 15 s")
}
