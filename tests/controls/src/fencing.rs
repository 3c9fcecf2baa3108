//! Promise 7 without fencing: the check of the token, the guard that stored tokens never decrease,
//! the look at the settlement's state, and the unique causes of the ledger.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use client::booking::Wanted;
use crowd::visit::cards;
use messages::audit::AuditedSettlement;

use crate::process::Process;
use crate::system::{System, buy};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: the driver leaves nothing to chance.
const WITHIN: usize = 1;

/// Short, so that there is a payout soon.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_fencing_the_checker_of_terms_finds_the_late_write_of_a_paused_leader()
-> anyhow::Result<()> {
    let says = ["a settlement paid after its leader's term"];
    caught_on_a_system(WITHIN, &says, "fencing", cards::VERY_SLOW, drive).await
}

/// What became of what the leader wrote that woke up late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Refused,
    Written,
}

/// A leader that is paused in a payout past its lease, and woken when the next one has paid.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(2, SETTLEMENT_PERIOD).await?;
    let client = system.customer()?;
    buy(&client, system.event_id, &Wanted::Best(1), cards::FINE).await?;

    let due = settlement(system, "due").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let leader = leading(system).await?;
    leader.signal("STOP").await?;
    let paid = settlement(system, "paid").await;
    leader.signal("CONT").await?;
    let paid = paid?;
    ensure!(paid.id == due.id, "another settlement was paid: {paid:?}");
    ensure!(
        paid.paid_fence_token > Some(due.fence_token),
        "no later leader paid: {paid:?}"
    );
    let late = late_write(system, leader, &due).await?;
    Ok(Seen {
        verdict: system.verdict(7).await?,
        guarded: guarded(late),
    })
}

fn guarded(late: Late) -> anyhow::Result<()> {
    ensure!(late == Late::Refused, "the late write was {late:?}");
    Ok(())
}

async fn leading(system: &System) -> anyhow::Result<&Process> {
    for worker in &system.workers {
        if worker.metric("leader_is_leading").await? == Some(1.0) {
            return Ok(worker);
        }
    }
    bail!("nobody leads")
}

async fn settlement(system: &System, state: &str) -> anyhow::Result<AuditedSettlement> {
    for _ in 0..300 {
        let audit = system.audit().await?;
        if let Some(settlement) = audit.settlements.into_iter().find(|one| one.state == state) {
            return Ok(settlement);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None.with_context(|| format!("no settlement was {state} within 30 s"))
}

/// Waits until the one that woke up has found the bank's answer and tried to write it down.
async fn late_write(
    system: &System,
    leader: &Process,
    due: &AuditedSettlement,
) -> anyhow::Result<Late> {
    let refusals = r#"leader_fence_refusals_total{task="settle"}"#;
    for _ in 0..150 {
        if leader.metric(refusals).await? >= Some(1.0) {
            return Ok(Late::Refused);
        }
        let audit = system.audit().await?;
        let written = |one: &AuditedSettlement| {
            one.id == due.id && one.paid_fence_token == Some(due.fence_token)
        };
        if audit.settlements.iter().any(written) {
            return Ok(Late::Written);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the leader that woke up tried to write nothing within 15 s")
}
