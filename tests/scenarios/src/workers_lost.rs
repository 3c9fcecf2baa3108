//! Workers that die over a payment, or are never heard of again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{TimeDelta, Utc};
use client::OrderState;
use crowd::visit::cards;
use faults::Container;
use messages::bank::Outcome;

use crate::deadline::{TRIES, generous};
use crate::stack::{Hall, Stack, eventually, superuser_of};

/// How long the bank takes for a card that is very slow.
const VERY_SLOW: TimeDelta = TimeDelta::seconds(8);

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_worker_killed_in_the_middle_of_a_payment_is_followed_by_another_and_it_is_charged_once()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let workers = stack.project.containers("worker").await?;
    let (last, others) = workers.split_first().context("no workers")?;
    // A busy machine may miss the moment, so there are several tries.
    let mut was_in_flight = false;
    for _ in 0..TRIES {
        was_in_flight = killed_over_a_payment(&hall, last, others).await?;
        stack.heal(Duration::from_secs(30)).await?;
        if was_in_flight {
            break;
        }
    }
    ensure!(
        was_in_flight,
        "no worker was killed in the middle of a payment"
    );
    hall.every_promise_held().await
}

/// Kills the only worker while it waits for the bank's answer to a charge, and starts the others, which
/// settle it. Tells whether it was so: what the bank is asked for it writes down eight seconds later,
/// whether or not the worker still waits.
async fn killed_over_a_payment(
    hall: &Hall,
    last: &Container,
    others: &[Container],
) -> anyhow::Result<bool> {
    let stack = &hall.stack;
    // One worker alone, so that it is certain which one has the payment in flight.
    for worker in others {
        worker.stop(generous(Duration::from_secs(10))).await?;
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
    // The bank was asked and thinks about it, for longer than the worker waits.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = Utc::now();
    last.kill().await?;
    let after = Utc::now();
    for worker in others {
        worker.start().await?;
    }

    let began = Instant::now();
    let bound = stack.visibility + Duration::from_secs(2);
    hall.until(0, order.id, OrderState::Paid, bound).await?;
    println!(
        "the payment was settled {:?} after the kill, of {bound:?}",
        began.elapsed()
    );
    let charges = stack.bank.movements_for(order.id).await?;
    ensure!(
        charges.len() == 1 && charges[0].outcome == Outcome::Succeeded,
        "{charges:?}"
    );
    let written = charges[0].created_at;
    Ok(written > after && written - VERY_SLOW < before)
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

/// How long the door to Postgres keeps the sessions of a client that is gone without a word: three
/// questions without an answer, and a little more (`deploy/haproxy/haproxy.cfg`).
const GIVEN_BACK: Duration = Duration::from_secs(15);

/// A client that is killed says that it ends; one whose network is cut does not, and there is room
/// for 120 sessions on the primary.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn sessions_of_workers_that_are_cut_off_are_given_back() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(4, 1).await?;
    let mut database = superuser_of("booking").await?;
    let mut sessions = async || -> anyhow::Result<i64> {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker'";
        Ok(sqlx::query_scalar(count).fetch_one(&mut database).await?)
    };
    ensure!(sessions().await? > 0);
    for worker in stack.project.containers("worker").await? {
        worker.disconnect().await?;
    }
    let order = hall.order(0, cards::FINE).await?;
    let given_back = eventually(GIVEN_BACK, "no session is left", async || {
        Ok((sessions().await? == 0).then_some(()))
    })
    .await;
    stack.heal(Duration::from_secs(30)).await?;
    given_back?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(30))
        .await?;
    hall.every_promise_held().await
}
