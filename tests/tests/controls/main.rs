//! Negative controls: a checker is trusted because it has been seen to fail.
//!
//! For each of three promises a patch takes out every guard of it, unique keys included, from a
//! copy of the tree. The same driver then runs twice on a small system of its own, made of real
//! stores and of processes built from the tree: as it is, where the matching checker must find
//! nothing, and patched, where it must find the promise broken.
//!
//! They need the toolbox and the test stack (Postgres, and images for a queue and an etcd of their
//! own), so they are ignored unless asked for, as `make test` does.

mod deduplication;
mod fencing;
mod seat_lock;
mod system;
mod workshop;

use tests::checkers::Violation;

/// What both runs of a control must show.
fn judge(with_guards: &[Violation], without: &[Violation], says: &str) -> anyhow::Result<()> {
    let shown = |violations: &[Violation]| {
        let first = violations
            .iter()
            .take(3)
            .map(|violation| violation.what.clone());
        first.collect::<Vec<_>>().join("; ")
    };
    anyhow::ensure!(
        with_guards.is_empty(),
        "broken with all guards: {}",
        shown(with_guards)
    );
    anyhow::ensure!(
        without
            .iter()
            .any(|violation| violation.what.contains(says)),
        "the checker does not say `{says}` without the guards, but: {}",
        shown(without)
    );
    println!("without the guards the checker says: {}", shown(without));
    Ok(())
}
