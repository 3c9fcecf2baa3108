//! Messages that nobody can handle: the dead-letter queues, and the way back.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use crowd::visit::cards;
use faults::Printed;
use messages::outbox::Destination;
use queue::{Outgoing, Queue};
use sqlx::Connection;
use uuid::Uuid;

use crate::stack::{Stack, eventually, superuser_of};

/// How long five receives may take until the queue gives up.
const BURIAL: Duration = Duration::from_secs(60);

async fn dead_letters(stack: &Stack, words: &[&str]) -> anyhow::Result<Printed> {
    let worker = stack.project.one("worker").await?;
    let command = [&["worker", "dead-letters"], words].concat();
    worker.run(&command).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_poison_message_goes_to_the_dead_letter_queue_and_holds_up_nobody() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let endpoint =
        std::env::var("SQS_ENDPOINT").unwrap_or_else(|_| "http://localstack:4566".to_owned());
    let text = format!("not a pointer {}", Uuid::now_v7());
    for destination in Destination::ALL {
        let queue = Queue::new(queue::client(&endpoint), destination.queue());
        let ordered = destination == Destination::Payments;
        queue
            .send(vec![Outgoing {
                id: "poison".to_owned(),
                body: text.clone(),
                group: ordered.then(|| "poison".to_owned()),
                deduplication_id: ordered.then(|| Uuid::now_v7().to_string()),
            }])
            .await?;
    }
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    for destination in ["payments", "tickets"] {
        let line = eventually(BURIAL, "the poison is listed", async || {
            let listed = dead_letters(&stack, &["list", destination]).await?;
            ensure!(listed.exit_code == 0, "{listed:?}");
            Ok(listed
                .text
                .lines()
                .find(|line| line.contains(&text[..40]))
                .map(str::to_owned))
        })
        .await?;
        let id = line
            .split_whitespace()
            .nth(1)
            .context("no id in the list")?;
        let shown = dead_letters(&stack, &["show", destination, id]).await?;
        ensure!(
            shown.exit_code == 0 && shown.text.contains(&text),
            "{shown:?}"
        );
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_dead_payment_asks_for_attention_and_is_redriven_while_the_queue_is_away()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    // A card that the bank cannot even read. No customer can give one, so it is put into the
    // database while the first try waits for an answer that never comes.
    let order = hall.order(0, cards::NEVER_ANSWERS).await?;
    set_card(order.id, "unreadable").await?;
    let dead = eventually(BURIAL, "the order needs attention", async || {
        let order = hall.customers[0].read_order(order.id).await?;
        Ok(order.needs_attention.then_some(order))
    })
    .await?;
    ensure!(dead.state == OrderState::Pending, "{dead:?}");
    let outbox = stack.booking.outbox().await?;
    ensure!(outbox.dead >= 1, "{outbox:?}");

    // A cancellation queues behind the dead row and waits with it.
    let cancelled = hall.customers[0].cancel(order.id).await?;
    ensure!(cancelled.cancel_requested);

    set_card(order.id, cards::FINE).await?;
    // What is dead stands in the database, and so does its way back.
    let localstack = stack.project.one("localstack").await?;
    localstack.kill().await?;
    let listed = dead_letters(&stack, &["list", "payments"]).await?;
    ensure!(
        listed.exit_code == 0 && listed.text.contains(&order.id.to_string()),
        "{listed:?}"
    );
    let redriven = dead_letters(&stack, &["redrive", "payments", &order.id.to_string()]).await?;
    ensure!(redriven.exit_code == 0, "{redriven:?}");
    localstack.start().await?;
    let settled = hall
        .until(0, order.id, OrderState::Cancelled, Duration::from_secs(60))
        .await?;
    ensure!(!settled.needs_attention, "{settled:?}");
    let movements = stack.bank.movements_for(order.id).await?;
    ensure!(
        movements.len() == 2,
        "a charge and its refund: {movements:?}"
    );
    hall.every_promise_held().await
}

async fn set_card(order_id: Uuid, card: &str) -> anyhow::Result<()> {
    let mut database = superuser_of("booking").await?;
    let done = sqlx::query("UPDATE orders SET card = $2 WHERE id = $1")
        .bind(order_id)
        .bind(card)
        .execute(&mut database)
        .await?;
    ensure!(done.rows_affected() == 1);
    database.close().await?;
    Ok(())
}
