//! Two things at once, of which exactly one may win.

use std::time::Duration;

use anyhow::{bail, ensure};
use client::booking::Wanted;
use client::{Failure, OrderState};
use crowd::visit::cards;

use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_cancellation_that_races_the_payment_ends_cancelled_and_refunded() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 4).await?;
    for round in 0..12_u64 {
        let number = usize::try_from(round)? % 4;
        let card = if round % 3 == 0 {
            cards::SLOW
        } else {
            cards::FINE
        };
        let order = hall.order(number, card).await?;
        // From before the payment was relayed to after it was settled.
        tokio::time::sleep(Duration::from_millis(round * 40)).await;
        let cancelled = hall.customers[number].cancel(order.id).await?;
        ensure!(cancelled.cancel_requested || cancelled.state != OrderState::Pending);
    }
    hall.every_promise_held().await?;
    let audit = hall.audit().await?;
    ensure!(audit.orders.len() == 12);
    ensure!(
        audit
            .orders
            .iter()
            .all(|order| order.state == OrderState::Cancelled)
    );
    ensure!(audit.seats.iter().all(|seat| seat.order_id.is_none()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_cancellation_that_races_a_scan_at_the_door_never_wins_both() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 1).await?;
    let ann = &hall.customers[0];
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        let order = hall.order(0, cards::FINE).await?;
        let code = hall.ticket_code(0, order.id).await?;
        let (scanned, cancelled) =
            tokio::join!(hall.organiser.client.scan(&code), ann.cancel(order.id));
        let refused = |failure: &Failure, problem: &str| failure.problem() == Some(problem);
        match (&scanned, &cancelled) {
            (Ok(_), Err(failure)) if refused(failure, "ticket-admitted") => outcomes.push("scan"),
            (Err(failure), Ok(_)) if refused(failure, "ticket-cancelled") => {
                outcomes.push("cancel")
            }
            _ => bail!("scan: {scanned:?}, cancellation: {cancelled:?}"),
        }
    }
    println!("won by: {outcomes:?}");
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn many_customers_who_want_the_same_seats_never_share_one() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 8).await?;
    let page = hall.customers[0].seats(hall.event_id).await?;
    let wanted: Vec<_> = page
        .items
        .into_iter()
        .take(4)
        .map(|seat| seat.name)
        .collect();
    let asked = (0..8).map(|number| {
        let (client, wanted) = (
            hall.customers[number].clone(),
            Wanted::Named(wanted.clone()),
        );
        let event_id = hall.event_id;
        tokio::spawn(async move { client.hold(event_id, &wanted).await })
    });
    let mut holds = 0;
    for asked in asked.collect::<Vec<_>>() {
        match asked.await? {
            Ok(_) => holds += 1,
            Err(failure) => {
                ensure!(failure.problem() == Some("seats-taken"), "{failure}");
            }
        }
    }
    ensure!(holds == 1, "{holds} customers hold the same seats");
    hall.every_promise_held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn best_seats_asked_for_at_once_are_all_different_and_none_is_called_sold_out()
-> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 8).await?;
    let asked = (0..8).map(|number| {
        let client = hall.customers[number].clone();
        let event_id = hall.event_id;
        tokio::spawn(async move { client.hold(event_id, &Wanted::Best(5)).await })
    });
    let mut seats = std::collections::BTreeSet::new();
    for asked in asked.collect::<Vec<_>>() {
        let hold = asked.await??;
        seats.extend(hold.seats.into_iter().map(|seat| seat.name));
    }
    ensure!(seats.len() == 40, "{} different seats of 40", seats.len());
    hall.check(&[2, 4]).await
}
