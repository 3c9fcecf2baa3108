//! Negative controls: a checker is trusted because a control has seen it fail.
//!
//! For each control a patch takes every guard of a promise, unique keys included, out of a copy of
//! the tree; where the guard is a setting of Patroni, the control changes that setting instead. The
//! same driver then runs on two small systems, made of real stores and of compiled programs. With
//! the guards the checker must find nothing, although the case that the guards are for occurred.
//! Without them the checker must find the promise broken. The two systems run side by side, because
//! they mostly wait, and share nothing but a Postgres server. Each control names the number of runs
//! within which it is caught: one where the driver leaves nothing to chance, more where it needs a
//! race. Controls leave it to the scenarios to check the promises on the whole stack.
//!
//! The controls need compiled programs with and without the guards (`deploy/test/programs.sh`,
//! `deploy/test/controls.sh`) and the stores of the test stack (its Postgres, and images for
//! Postgres nodes, a queue and an etcd of their own). So they are ignored by default, and
//! `make test` includes them.

mod cluster;
mod deduplication;
mod fencing;
mod fifo_group;
mod idempotency;
mod outbox_marked_on_send;
mod process;
mod programs;
mod replication;
mod scratch;
mod seat_lock;
mod system;

use anyhow::{Context, bail, ensure};
use checkers::Verdict;

use crate::programs::Programs;
use crate::system::System;

/// What came of a run.
struct Seen {
    /// What the checker of the promise says.
    verdict: Verdict,
    /// Whether what the guards are for did happen, and they met it. Asked where they are there.
    guarded: anyhow::Result<()>,
}

/// Drives the system with its guards and another one without them, side by side, until the checker
/// says of the second one that the promise is broken in each of these ways: within so many runs.
/// With its guards the system must keep the promise in every run.
async fn caught_within<G>(
    runs: usize,
    says: &[&str],
    [with, without]: [&G; 2],
    drive: impl AsyncFn(&G) -> anyhow::Result<Seen>,
) -> anyhow::Result<()> {
    let mut last = String::new();
    for run in 1..=runs {
        // Both to their end, whatever comes of either: each takes down what it started.
        let (seen, without_guards) = tokio::join!(Box::pin(drive(with)), Box::pin(drive(without)));
        let seen = seen?;
        let held = matches!(seen.verdict, Verdict::Held);
        ensure!(held, "run {run}, with all guards: {}", shown(&seen.verdict));
        seen.guarded
            .with_context(|| format!("run {run}, with all guards"))?;
        let seen = without_guards?;
        last = shown(&seen.verdict);
        if says_each(&seen.verdict, says) {
            println!("caught in run {run} of at most {runs}: {last}");
            return Ok(());
        }
    }
    bail!("not caught within {runs} runs: the checker does not say all of {says:?}, but: {last}")
}

/// [`caught_within`] on two small systems, one of them with `patch`. Each has an event whose organiser
/// is paid on `payout_account`, and ends with the run.
async fn caught_on_a_system(
    runs: usize,
    says: &[&str],
    patch: &str,
    payout_account: &str,
    drive: impl AsyncFn(&mut System) -> anyhow::Result<Seen>,
) -> anyhow::Result<()> {
    let programs = [&Programs::as_it_is(), &Programs::patched(patch)];
    caught_within(runs, says, programs, async |programs: &Programs| {
        let mut system = System::start(programs, payout_account).await?;
        let seen = drive(&mut system).await;
        system.end().await?;
        seen
    })
    .await
}

/// Whether the promise is broken in each of these ways.
fn says_each(verdict: &Verdict, says: &[&str]) -> bool {
    let Verdict::Broken(violations) = verdict else {
        return false;
    };
    let is_said = |way: &&str| violations.iter().any(|one| one.what.contains(*way));
    says.iter().all(is_said)
}

/// A verdict in a line.
fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held => "held".to_owned(),
        Verdict::NotChecked(why) => format!("not checked: {why}"),
        Verdict::NotAsked(needs) => format!("not checked: {needs}"),
        Verdict::Broken(violations) => {
            let some = violations.iter().take(6);
            let some: Vec<_> = some.map(|violation| violation.what.as_str()).collect();
            format!("{} times broken: {}", violations.len(), some.join("; "))
        }
    }
}
