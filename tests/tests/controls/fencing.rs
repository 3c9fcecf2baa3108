//! Promise 7 without fencing: the check of the token, the guard that stored tokens never decrease,
//! the look at the settlement's state, and the unique causes of the ledger.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tests::checkers::Verdict;
use tests::client::Hold;
use tests::client::booking::{Wanted, place_hold, place_order};
use tests::client::internal::AuditSettlement;
use tests::crowd::visit::cards;

use crate::judge;
use crate::system::{Process, System, signed};
use crate::workshop::{self, Programs};

/// Short, so that there is a payout soon.
const SETTLEMENT_PERIOD: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_fencing_the_checker_of_terms_finds_the_late_write_of_a_paused_leader()
-> anyhow::Result<()> {
    let with_guards = drive(workshop::as_it_is().await?).await?;
    let without = drive(&workshop::patched("fencing", &["booking", "worker"]).await?).await?;
    ensure!(
        with_guards.late == Late::Refused,
        "with all guards the late write was {:?}",
        with_guards.late
    );
    ensure!(
        without.late == Late::Written,
        "without the guards the late write was {:?}",
        without.late
    );
    judge(
        &with_guards.verdict,
        &without.verdict,
        &["a settlement paid after its leader's term"],
    )
}

/// What came of a run.
struct Seen {
    /// Of promise 7.
    verdict: Verdict,
    late: Late,
}

/// What became of what the leader wrote that woke up late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Refused,
    Written,
}

/// A leader that is paused in a payout past its lease, and woken when the next one has paid.
async fn drive(programs: &Programs) -> anyhow::Result<Seen> {
    let mut system = System::start(programs, cards::VERY_SLOW).await?;
    let seen = happens_in(&mut system).await;
    system.end().await?;
    seen
}

async fn happens_in(system: &mut System) -> anyhow::Result<Seen> {
    system.with_workers(2, SETTLEMENT_PERIOD).await?;
    let client = system.customer()?;
    let ask = place_hold(client.next_key(), system.event_id, &Wanted::Best(1));
    let hold: Hold = client.read(&signed(&client, ask)).await?;
    let ask = place_order(client.next_key(), hold.id, cards::FINE);
    client.insist(&signed(&client, ask)).await?;

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
    Ok(Seen {
        late: late_write(system, leader, &due).await?,
        verdict: system.verdict(7).await?,
    })
}

async fn leading(system: &System) -> anyhow::Result<&Process> {
    for worker in &system.workers {
        if worker.metric("leader_is_leading").await? == Some(1.0) {
            return Ok(worker);
        }
    }
    bail!("nobody leads")
}

async fn settlement(system: &System, state: &str) -> anyhow::Result<AuditSettlement> {
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
    due: &AuditSettlement,
) -> anyhow::Result<Late> {
    let refusals = r#"leader_fence_refusals_total{task="settle"}"#;
    for _ in 0..150 {
        if leader.metric(refusals).await? >= Some(1.0) {
            return Ok(Late::Refused);
        }
        let audit = system.audit().await?;
        let written = |one: &AuditSettlement| {
            one.id == due.id && one.paid_fence_token == Some(due.fence_token)
        };
        if audit.settlements.iter().any(written) {
            return Ok(Late::Written);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the leader that woke up tried to write nothing within 15 s")
}
