//! What the table must be.

use std::collections::BTreeSet;

use super::super::Pace;
use super::*;

#[test]
fn every_role_and_every_kind_is_struck_by_some_row() {
    let struck = ROWS.iter().flat_map(|row| row.faults.iter().copied());
    let (kinds, targets): (BTreeSet<_>, BTreeSet<_>) =
        struck.flat_map(|faults| faults.iter().copied()).unzip();
    assert_eq!(kinds.len(), Kind::ALL.len());
    assert_eq!(targets.len(), Target::ALL.len());
}

#[test]
fn two_at_once_are_the_pairs_that_the_design_names_and_no_other() {
    let pairs: BTreeSet<_> = ROWS
        .iter()
        .flat_map(|row| row.faults)
        .filter(|faults| faults.len() > 1)
        .map(|faults| faults.iter().map(|(_, target)| *target).collect::<Vec<_>>())
        .collect();
    let promised = BTreeSet::from([
        vec![T::EtcdLeader, T::LeadingWorker],
        vec![T::PostgresStandby, T::Queue],
    ]);
    assert_eq!(pairs, promised);
}

#[test]
fn bounds_follow_the_settings_and_the_backlog() {
    let pace = Pace {
        lease: Duration::from_secs(3),
        ..Pace::default()
    };
    let row = |name| ROWS.iter().find(|row| row.name == name).unwrap();
    let leader = row("leader").bound_from_the_fault(&pace);
    assert_eq!(leader, Duration::from_secs(5));
    let all = row("queue").checks[2].bound;
    assert!(all(&pace, 40) > all(&pace, 0));
}
