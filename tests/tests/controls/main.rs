//! Negative controls: a checker is trusted because it has been seen to fail.
//!
//! For each of three promises a patch takes out every guard of it, unique keys included, from a
//! copy of the tree. The same driver then runs twice on a small system of its own, made of real
//! stores and of processes built from the tree: as it is, where the matching checker must find
//! nothing although what the guards are for did happen, and patched, where it must find the
//! promise broken.
//!
//! They need the toolbox and the test stack (Postgres, and images for a queue and an etcd of their
//! own), so they are ignored unless asked for, as `make test` does.

mod deduplication;
mod fencing;
mod scratch;
mod seat_lock;
mod system;
mod workshop;

use anyhow::{bail, ensure};
use tests::checkers::Verdict;

/// What both runs of a control must show: a promise held, and broken in each of these ways.
fn judge(with_guards: &Verdict, without: &Verdict, says: &[&str]) -> anyhow::Result<()> {
    ensure!(
        matches!(with_guards, Verdict::Held),
        "with all guards: {}",
        shown(with_guards)
    );
    let Verdict::Broken(violations) = without else {
        bail!("without the guards: {}", shown(without));
    };
    for way in says {
        ensure!(
            violations
                .iter()
                .any(|violation| violation.what.contains(way)),
            "the checker does not say `{way}` without the guards, but: {}",
            shown(without)
        );
    }
    println!("without the guards the checker says: {}", shown(without));
    Ok(())
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
