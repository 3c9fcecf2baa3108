//! Crowds that want more than there is: `make crowd`, as people type it, and a large one.

use std::time::Duration;

use anyhow::{Context, ensure};
use checkers::{PROMISES, Verdict, Witnesses};
use crowd::visit::cards;
use crowd::{Plan, run};
use tokio::process::Command;

use crate::deadline::generous;
use crate::stack::Stack;

/// How long it may take: the customers' time, the bound in which all has to settle, and some.
const BOUND: Duration = generous(Duration::from_secs(200));

/// What a crowd does, one after another.
const STAGES: [&str; 4] = [
    "50 customers sign up",
    "50 customers want 40 seats",
    "waiting until every order is final",
    "checking the promises",
];

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn make_crowd_checks_every_promise_and_ends_with_0() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let crowd = Command::new("make")
        .arg("crowd")
        .args(["CUSTOMERS=50", "SEATS=40", "SECONDS=15", "SEED=7"])
        .env("COMPOSE_PROJECT_NAME", stack.project.name())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(BOUND, crowd)
        .await
        .with_context(|| format!("it took longer than {BOUND:?}"))?
        .context("make is not there")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    ensure!(output.status.success(), "{said}{complained}");
    for promise in PROMISES {
        let line = format!("{}. {:<42} held", promise.number, promise.says);
        ensure!(said.contains(&line), "no line `{line}` in\n{said}");
    }
    ensure!(!said.contains("seats sold: 0"), "nobody bought:\n{said}");
    let verdict = said.trim_end().lines().last().unwrap_or_default();
    ensure!(
        verdict == "Verdict: every promise that was checked held.",
        "the last line is `{verdict}` in\n{said}"
    );
    ensure!(said.contains("are meant to be"), "{said}");
    // Where there is no terminal for a bar, each stage has a line.
    for stage in STAGES {
        ensure!(complained.contains(stage), "no `{stage}` in\n{complained}");
    }
    // The hall is sold out long before the holds that nobody ordered expire.
    ensure!(
        complained.contains(" have seats") || complained.contains(" s at most"),
        "no progress in\n{complained}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn five_hundred_customers_buy_three_hundred_seats_and_every_promise_is_held()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let plan = Plan {
        customers: 500,
        seats: 300,
        // They go home earlier, once nothing can come back any more.
        time: generous(Duration::from_secs(120)),
        seed: 500,
        concurrency: 64,
        witnesses: Witnesses {
            booking: Some(stack.booking.clone()),
            bank: Some(stack.bank.clone()),
        },
        payout_account: cards::FINE.to_owned(),
    };
    let report = run(stack.door.clone(), &plan, &()).await?;
    println!("{}", report.text());
    ensure!(report.held(), "a promise is broken");
    ensure!(
        report
            .verdicts
            .iter()
            .all(|(_, verdict)| matches!(verdict, Verdict::Held))
    );
    ensure!(
        report.summary.outcomes("500") == 0,
        "something failed inside"
    );
    ensure!(
        report.seats_sold() == 300,
        "{} of 300 seats sold",
        report.seats_sold()
    );
    ensure!(report.failures.is_empty(), "visits broke off");
    Ok(())
}
