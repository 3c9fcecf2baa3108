//! Promise 7 without fencing: the check of the token, the guard that stored tokens never decrease,
//! the look at the settlement's state, and the unique causes of the ledger.

use std::time::Duration;

use anyhow::{Context, bail};
use tests::checkers::{Ending, Violation, leader_terms};
use tests::client::Hold;
use tests::client::booking::{Wanted, place_hold, place_order};
use tests::client::internal::AuditSettlement;
use tests::crowd::visit::cards;

use crate::judge;
use crate::system::{Process, Scratch, System, signed};
use crate::workshop::{self, Programs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_fencing_the_checker_of_terms_finds_the_late_write_of_a_paused_leader()
-> anyhow::Result<()> {
    let build = Scratch::new().await?;
    build.migrate(&workshop::apply("fencing")?).await?;
    let patched = workshop::patched("fencing", &build.url())?;
    build.remove().await?;
    let with_guards = drive(&workshop::as_it_is()?).await?;
    let without = drive(&patched).await?;
    judge(&with_guards, &without, "after its leader's term")
}

/// A leader that is paused in a payout past its lease, and woken when the next one has paid.
async fn drive(programs: &Programs) -> anyhow::Result<Vec<Violation>> {
    let mut system = System::start(programs, cards::VERY_SLOW).await?;
    let found = happens_in(&mut system).await;
    system.end().await?;
    found
}

async fn happens_in(system: &mut System) -> anyhow::Result<Vec<Violation>> {
    system.with_workers(2).await?;
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
    anyhow::ensure!(paid?.id == due.id, "another settlement was paid");
    // Time to wake, to find the bank's answer, and to try to write it down.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ending = Ending {
        audit: Some(system.audit().await?),
        books: Some(system.books()?.movements().await?),
        ..Ending::default()
    };
    Ok(leader_terms::check(&[], &ending))
}

async fn leading(system: &System) -> anyhow::Result<&Process> {
    for worker in &system.workers {
        if worker.says("leader_is_leading 1").await? {
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
