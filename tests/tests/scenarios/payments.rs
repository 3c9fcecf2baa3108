//! Workers that die over a payment, and payments that come twice.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use messages::bank::Outcome;
use messages::outbox::{Destination, Kind, Pointer, VERSION};
use queue::{Outgoing, Queue};
use tests::client::OrderState;
use tests::client::internal::AuditOutbox;
use tests::crowd::visit::cards;
use uuid::Uuid;

use crate::stack::{Stack, eventually};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_worker_killed_in_the_middle_of_a_payment_is_followed_by_another_and_it_is_charged_once()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    // One worker alone, so that it is certain who has the payment in hand.
    let workers = stack.project.containers("worker").await?;
    let (last, others) = workers.split_first().context("no workers")?;
    for worker in others {
        worker.stop(Duration::from_secs(10)).await?;
    }
    eventually(
        stack.lease + Duration::from_secs(5),
        "the one that is left leads",
        async || {
            let leader = stack.leader().await?.leader.context("nobody leads")?;
            Ok((leader.name == last.host_name()).then_some(()))
        },
    )
    .await?;
    let order = hall.order(0, cards::VERY_SLOW).await?;
    eventually(Duration::from_secs(5), "its row is sent", async || {
        Ok(hall
            .payment_rows(order.id)
            .await?
            .first()
            .and_then(|row| row.sent_at))
    })
    .await?;
    for worker in others {
        worker.start().await?;
    }
    // The bank was asked and thinks about it, for eight seconds and beyond the worker's patience.
    tokio::time::sleep(Duration::from_secs(2)).await;
    last.kill().await?;
    let began = Instant::now();
    ensure!(
        hall.payment_rows(order.id).await?[0].delivered_at.is_none(),
        "it was too quick"
    );

    let bound = stack.visibility + Duration::from_secs(2);
    hall.until(
        0,
        order.id,
        OrderState::Paid,
        bound + Duration::from_secs(5),
    )
    .await?;
    println!(
        "the payment was settled {:?} after the kill",
        began.elapsed()
    );
    ensure!(
        began.elapsed() <= bound + Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let charges = stack.bank.movements_for(order.id).await?;
    ensure!(
        charges.len() == 1 && charges[0].outcome == Outcome::Succeeded,
        "{charges:?}"
    );
    stack.project.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn workers_killed_one_after_another_lose_no_payment() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(60, 2).await?;
    let mut orders = Vec::new();
    for (round, worker) in stack
        .project
        .containers("worker")
        .await?
        .into_iter()
        .enumerate()
    {
        for _ in 0..5 {
            orders.push(hall.order(round % 2, cards::SLOW).await?.id);
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        worker.kill().await?;
        worker.start().await?;
    }
    hall.every_promise_held().await?;
    let audit = hall.audit().await?;
    ensure!(audit.orders.len() == orders.len());
    ensure!(
        audit
            .orders
            .iter()
            .all(|order| order.state == OrderState::Paid)
    );
    Ok(())
}

/// Sends what the relay would send for this row, once more.
async fn send_again(row: &AuditOutbox, destination: Destination, kind: Kind) -> anyhow::Result<()> {
    let endpoint =
        std::env::var("SQS_ENDPOINT").unwrap_or_else(|_| "http://localstack:4566".to_owned());
    let queue = Queue::new(queue::client(&endpoint), destination.queue());
    let pointer = Pointer {
        version: VERSION,
        row_id: row.id,
        group_id: row.group_id,
        sequence: row.sequence,
        kind,
        send: row.sends,
        traceparent: None,
    };
    let ordered = destination == Destination::Payments;
    let sent = queue
        .send(vec![Outgoing {
            id: row.id.to_string(),
            body: serde_json::to_string(&pointer)?,
            group: ordered.then(|| row.group_id.to_string()),
            deduplication_id: ordered.then(|| Uuid::now_v7().to_string()),
        }])
        .await?;
    ensure!(sent.iter().all(|sent| sent.result.is_ok()), "{sent:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_message_delivered_twice_has_one_effect() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    // While the first delivery is in hand, and after it took effect.
    let order = hall.order(0, cards::SLOW).await?;
    let row = eventually(Duration::from_secs(5), "its row is sent", async || {
        let rows = hall.payment_rows(order.id).await?;
        Ok(rows.into_iter().find(|row| row.sent_at.is_some()))
    })
    .await?;
    send_again(&row, Destination::Payments, Kind::Charge).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    send_again(&row, Destination::Payments, Kind::Charge).await?;
    let tickets = eventually(
        Duration::from_secs(15),
        "the ticket is rendered",
        async || {
            let tickets = hall.customers[0].tickets(order.id).await?;
            Ok(tickets
                .iter()
                .all(|ticket| ticket.code.is_some())
                .then_some(tickets))
        },
    )
    .await?;
    let audit = hall.audit().await?;
    let rendering = audit.outbox.iter().find(|row| row.destination == "tickets");
    send_again(
        rendering.context("no row for tickets")?,
        Destination::Tickets,
        Kind::RenderTickets,
    )
    .await?;

    let cancelled = hall.customers[0].cancel(order.id).await?;
    ensure!(cancelled.state == OrderState::Cancelling, "{cancelled:?}");
    hall.until(0, order.id, OrderState::Cancelled, Duration::from_secs(15))
        .await?;
    // The charge once more, after its refund.
    send_again(&row, Destination::Payments, Kind::Charge).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = hall.customers[0].tickets(order.id).await?;
    ensure!(again.len() == tickets.len(), "tickets were issued twice");
    let movements = stack.bank.movements_for(order.id).await?;
    ensure!(movements.len() == 2, "{movements:?}");
    let counted: u32 = {
        let mut stale = 0.0;
        for worker in stack.project.containers("worker").await? {
            let series = r#"queue_messages_total{outcome="stale",queue="payments.fifo"}"#;
            stale += stack.metric(&worker, series).await?;
        }
        format!("{stale:.0}").parse()?
    };
    ensure!(counted >= 1, "no worker says that a message was stale");
    hall.every_promise_held().await
}
