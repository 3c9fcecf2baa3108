//! The way of a purchase.

use std::time::Duration;

use anyhow::ensure;
use client::OrderState;
use client::booking::Wanted;
use crowd::visit::cards;

use crate::stack::{Stack, eventually, refused_with};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_purchase_goes_through_the_door_to_a_ticket_that_is_let_in_once() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let ann = &hall.customers[0];
    ensure!(ann.events_in("Salzburg", 20).await.is_ok());
    let hold = ann.hold(hall.event_id, &Wanted::Best(2)).await?;
    ensure!(hold.seats.len() == 2 && hold.state == "active");
    let order = ann.order(hold.id, cards::FINE).await?;
    ensure!(order.state == OrderState::Pending && order.total_minor == hold.total_minor);
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;

    let tickets = eventually(
        Duration::from_secs(15),
        "two tickets are rendered",
        async || {
            let tickets = ann.tickets(order.id).await?;
            Ok(tickets
                .iter()
                .all(|ticket| ticket.code.is_some())
                .then_some(tickets))
        },
    )
    .await?;
    ensure!(tickets.len() == 2);
    let (kind, length) = ann.pdf(tickets[0].id).await?;
    ensure!(
        kind == "application/pdf" && length > 1_000,
        "{kind}, {length} bytes"
    );

    let code = tickets[0].code.as_deref().unwrap_or_default();
    let admission = hall.organiser.client.scan(code).await?;
    ensure!(admission.ticket_id == tickets[0].id);
    refused_with(
        hall.organiser.client.scan(code).await,
        409,
        "ticket-already-admitted",
    )?;
    refused_with(ann.cancel(order.id).await, 409, "ticket-admitted")?;

    // The overview is read on a standby, which may be a moment behind.
    eventually(Duration::from_secs(5), "two seats are sold", async || {
        let available = ann.availability(hall.event_id).await?;
        let is_shown = (available.free, available.sold) == (38, 2);
        ensure!(is_shown, "{available:?}");
        Ok(Some(()))
    })
    .await?;
    let settled = eventually(
        stack.settlement * 2 + Duration::from_secs(10),
        "it is paid out",
        async || {
            let settlements = hall.organiser.client.settlements(hall.event_id).await?;
            let paid: i64 = settlements
                .iter()
                .filter(|one| one.state == "paid")
                .map(|one| one.amount_minor)
                .sum();
            Ok((paid == order.total_minor).then_some(settlements))
        },
    )
    .await?;
    ensure!(settled.len() == 1);
    hall.every_promise_held().await
}
