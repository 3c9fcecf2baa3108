//! One `Idempotency-Key`, one effect, one answer.

use std::collections::BTreeSet;

use anyhow::ensure;
use client::booking::{Wanted, cancel_order, place_hold, place_order};
use client::{Client, Order, OrderState};
use crowd::visit::cards;
use serde_json::json;
use uuid::Uuid;

use crate::stack::{Stack, refused_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn the_same_key_sent_in_parallel_makes_one_hold_and_one_order() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 1).await?;
    let ann = hall.customers[0].clone();
    let ask = place_hold(ann.next_key(), hall.event_id, &Wanted::Best(2));
    let holds = in_parallel(&ann, &ask).await?;
    ensure!(holds.len() == 1, "{} answers to one key", holds.len());
    let hold_id: Uuid = serde_json::from_value(first(&holds)?["id"].clone())?;

    let ask = place_order(ann.next_key(), hold_id, cards::FINE);
    let orders = in_parallel(&ann, &ask).await?;
    ensure!(orders.len() == 1, "{} answers to one key", orders.len());
    let order_id: Uuid = serde_json::from_value(first(&orders)?["id"].clone())?;
    hall.until(
        0,
        order_id,
        OrderState::Paid,
        std::time::Duration::from_secs(10),
    )
    .await?;

    let ask = cancel_order(ann.next_key(), order_id);
    let cancels = in_parallel(&ann, &ask).await?;
    ensure!(cancels.len() == 1, "{} answers to one key", cancels.len());
    let audit = hall.audit().await?;
    ensure!(audit.holds.len() == 1 && audit.orders.len() == 1);
    hall.every_promise_held().await
}

/// Sixteen at once; the different bodies of their answers.
async fn in_parallel(client: &Client, ask: &client::Ask) -> anyhow::Result<BTreeSet<String>> {
    let asked = (0..16).map(|_| {
        let (client, ask) = (client.clone(), ask.clone());
        tokio::spawn(async move { client.insist(&ask).await })
    });
    let mut bodies = BTreeSet::new();
    for asked in asked.collect::<Vec<_>>() {
        bodies.insert(asked.await??.body.to_string());
    }
    Ok(bodies)
}

fn first(bodies: &BTreeSet<String>) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_str(
        bodies.first().map_or("null", String::as_str),
    )?)
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_same_key_with_another_body_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(40, 2).await?;
    let ann = &hall.customers[0];
    let key = ann.next_key();
    let ask = place_hold(key.clone(), hall.event_id, &Wanted::Best(2));
    let hold = ann.insist(&ask).await?;
    let other = place_hold(key.clone(), hall.event_id, &Wanted::Best(3));
    refused_with(ann.insist(&other).await, 422, "idempotency-key-reused")?;
    let again = ann.insist(&ask).await?;
    ensure!(
        again.replayed && again.body == hold.body,
        "the first answer is not repeated"
    );
    ensure!(hall.audit().await?.holds.len() == 1);

    // A key belongs to its account: the same text is another key with somebody else.
    let bob = &hall.customers[1];
    ensure!(
        bob.insist(&place_hold(key, hall.event_id, &Wanted::Best(3)))
            .await
            .is_ok()
    );
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_key_is_asked_for_and_must_be_well_formed() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let mut ask = place_hold(String::new(), hall.event_id, &Wanted::Best(1));
    ask.key = None;
    refused_with(ann.ask_once(&ask, 0).await, 400, "idempotency-key-missing")?;
    // Nginx passes on no empty header.
    let long = "k".repeat(65);
    for (bad, status, problem) in [
        ("", 400, "idempotency-key-missing"),
        ("a b", 422, "invalid-request"),
        (&long, 422, "invalid-request"),
    ] {
        ask.key = Some(bad.to_owned());
        refused_with(ann.ask_once(&ask, 0).await, status, problem)?;
    }
    ensure!(hall.audit().await?.holds.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_refused_request_stores_nothing_so_its_key_may_succeed_later() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(2, 2).await?;
    let (ann, bob) = (&hall.customers[0], &hall.customers[1]);
    let hold = ann.hold(hall.event_id, &Wanted::Best(2)).await?;
    let ask = place_hold(bob.next_key(), hall.event_id, &Wanted::Best(1));
    refused_with(bob.insist(&ask).await, 409, "sold-out")?;
    ann.release(hold.id).await?;
    ensure!(
        bob.insist(&ask).await.is_ok(),
        "the refusal was stored with the key"
    );
    hall.check(&[1, 2, 4]).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_scan_repeated_with_its_key_gets_the_first_answer() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order: Order = hall.order(0, cards::FINE).await?;
    let code = hall.ticket_code(0, order.id).await?;
    let door = &hall.organiser.client;
    let ask = client::booking::scan(door.next_key(), &code);
    let first = door.insist(&ask).await?;
    let again = door.insist(&ask).await?;
    ensure!(again.body == first.body && again.replayed, "{again:?}");
    ensure!(first.body["result"] == json!("admitted"));
    refused_with(door.scan(&code).await, 409, "ticket-already-admitted")?;
    hall.every_promise_held().await
}
