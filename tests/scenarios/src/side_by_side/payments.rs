//! Payments that come twice.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use crowd::visit::cards;
use messages::audit::AuditedRow;
use messages::outbox::{Destination, Kind, Pointer, VERSION};
use queue::{Outgoing, Queue};
use uuid::Uuid;

use crate::stack::{Stack, eventually};

/// Sends what the relay would send for this row, once more.
async fn send_again(row: &AuditedRow, destination: Destination, kind: Kind) -> anyhow::Result<()> {
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
    let before = stale(&stack).await?;
    send_again(&row, Destination::Payments, Kind::Charge).await?;
    eventually(Duration::from_secs(5), "a message is stale", async || {
        Ok((stale(&stack).await? > before).then_some(()))
    })
    .await?;
    let again = hall.customers[0].tickets(order.id).await?;
    ensure!(again.len() == tickets.len(), "tickets were issued twice");
    let movements = stack.bank.movements_for(order.id).await?;
    ensure!(movements.len() == 2, "{movements:?}");
    hall.every_promise_held().await
}

/// How many messages about payments the workers found stale.
async fn stale(stack: &Stack) -> anyhow::Result<f64> {
    let mut stale = 0.0;
    for worker in stack.project.containers("worker").await? {
        let series = r#"queue_messages_total{outcome="stale",queue="payments.fifo"}"#;
        stale += stack.metric(&worker, series).await?;
    }
    Ok(stale)
}
