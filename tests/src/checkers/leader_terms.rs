//! Promise 7: a leader's task takes effect at most once for each period; tokens stored with its
//! effects never decrease; a leader that was paused and wakes up late is refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use messages::bank::{Kind, Movement};
use uuid::Uuid;

use super::{Ending, Violation};
use crate::client::internal::{Audit, AuditSettlement};
use crate::history::Record;

/// Periods settled twice, payouts made twice, tokens that went back.
#[must_use]
pub fn check(_: &[Record], ending: &Ending) -> Vec<Violation> {
    let (Some(audit), Some(books)) = (&ending.audit, &ending.books) else {
        return Vec::new();
    };
    let mut violations = periods_settled_twice(audit);
    violations.extend(payouts_made_twice(audit, books));
    violations.extend(terms_that_go_back(audit));
    violations.extend(effects_that_go_back(audit));
    violations.extend(effects_after_the_term(audit));
    violations.extend(tokens_of_nobody(audit));
    violations
}

fn periods_settled_twice(audit: &Audit) -> Vec<Violation> {
    let mut periods: BTreeMap<i64, Vec<&AuditSettlement>> = BTreeMap::new();
    for settlement in &audit.settlements {
        periods
            .entry(settlement.period)
            .or_default()
            .push(settlement);
    }
    periods
        .into_iter()
        .filter(|(_, settlements)| settlements.len() > 1)
        .map(|(period, settlements)| {
            let what = format!("period {period} was settled {} times", settlements.len());
            settlements
                .into_iter()
                .fold(Violation::new(what), |v, settlement| v.shown_by(settlement))
        })
        .collect()
}

fn payouts_made_twice(audit: &Audit, books: &[Movement]) -> Vec<Violation> {
    let mut payouts: BTreeMap<Uuid, Vec<&Movement>> = BTreeMap::new();
    for movement in books
        .iter()
        .filter(|movement| movement.kind == Kind::Payout)
    {
        payouts
            .entry(movement.reference)
            .or_default()
            .push(movement);
    }
    let mut booked: BTreeMap<Uuid, usize> = BTreeMap::new();
    for line in &audit.ledger {
        if let Some(settlement) = line.settlement_id {
            *booked.entry(settlement).or_default() += 1;
        }
    }
    audit
        .settlements
        .iter()
        .filter_map(|settlement| {
            let made = payouts.get(&settlement.id).map_or(0, Vec::len);
            let booked = booked.get(&settlement.id).copied().unwrap_or_default();
            (made > 1 || booked > 1).then(|| {
                let what = format!(
                    "settlement {} was paid out {made} times and booked {booked} times",
                    settlement.id
                );
                let violation = Violation::new(what).shown_by(settlement);
                let made = payouts.get(&settlement.id).into_iter().flatten();
                made.fold(violation, |violation, movement| {
                    violation.shown_by(movement)
                })
            })
        })
        .collect()
}

/// A later term has a greater token.
fn terms_that_go_back(audit: &Audit) -> Vec<Violation> {
    let mut terms: Vec<_> = audit.terms.iter().collect();
    terms.sort_by_key(|term| term.minted_at);
    terms
        .windows(2)
        .filter(|pair| pair[1].token <= pair[0].token)
        .map(|pair| {
            Violation::new("a later term has no greater token")
                .shown_by(pair[0])
                .shown_by(pair[1])
        })
        .collect()
}

/// Of each kind of effect, a later one never has a smaller token.
fn effects_that_go_back(audit: &Audit) -> Vec<Violation> {
    let recorded = audit
        .settlements
        .iter()
        .map(|s| (s.created_at, s.fence_token));
    let paid = audit
        .settlements
        .iter()
        .filter_map(|s| Some((s.paid_at?, s.paid_fence_token?)));
    let booked = audit
        .ledger
        .iter()
        .filter_map(|line| Some((line.created_at, line.fence_token?)));
    let mut violations = Vec::new();
    violations.extend(goes_back("settlements recorded", recorded.collect()));
    violations.extend(goes_back("settlements paid", paid.collect()));
    violations.extend(goes_back("payouts booked", booked.collect()));
    for settlement in &audit.settlements {
        if settlement
            .paid_fence_token
            .is_some_and(|token| token < settlement.fence_token)
        {
            violations.push(
                Violation::new("a settlement was paid by a leader older than its recorder")
                    .shown_by(settlement),
            );
        }
    }
    violations
}

fn goes_back(what: &str, mut effects: Vec<(DateTime<Utc>, i64)>) -> Vec<Violation> {
    effects.sort_by_key(|(at, _)| *at);
    effects
        .windows(2)
        .filter(|pair| pair[1].1 < pair[0].1)
        .map(|pair| {
            Violation::new(format!("{what}: a token went back"))
                .shown_by(&pair[0])
                .shown_by(&pair[1])
        })
        .collect()
}

/// No effect with a token comes after the next token was minted: that is what a leader that woke
/// up late would do.
fn effects_after_the_term(audit: &Audit) -> Vec<Violation> {
    let over = |token: i64| {
        audit
            .terms
            .iter()
            .filter(|term| term.token > token)
            .map(|term| term.minted_at)
            .min()
    };
    let late = |at: DateTime<Utc>, token: i64| over(token).is_some_and(|over| at > over);
    let mut violations = Vec::new();
    for settlement in &audit.settlements {
        let paid_late = settlement
            .paid_at
            .zip(settlement.paid_fence_token)
            .is_some_and(|(at, token)| late(at, token));
        if paid_late || late(settlement.created_at, settlement.fence_token) {
            violations.push(
                Violation::new("a settlement was written after its leader's term")
                    .shown_by(settlement),
            );
        }
    }
    for task in &audit.tasks {
        if task
            .last_effect_at
            .is_some_and(|at| late(at, task.fence_token))
        {
            violations
                .push(Violation::new("a task took effect after its leader's term").shown_by(task));
        }
    }
    violations
}

/// Tokens are minted in one place: an effect's token must be known there.
fn tokens_of_nobody(audit: &Audit) -> Vec<Violation> {
    let minted: BTreeSet<i64> = audit.terms.iter().map(|term| term.token).collect();
    let Some(oldest) = minted.first() else {
        return Vec::new();
    };
    let tokens = audit
        .settlements
        .iter()
        .flat_map(|s| [Some(s.fence_token), s.paid_fence_token]);
    let tokens = tokens.chain(audit.tasks.iter().map(|task| Some(task.fence_token)));
    let unknown: BTreeSet<i64> = tokens
        .flatten()
        .filter(|token| token >= oldest && !minted.contains(token))
        .collect();
    unknown
        .into_iter()
        .map(|token| Violation::new(format!("nobody was given token {token}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn a_good_run_holds() {
        let sample = Sample::good();
        let violations = check(&sample.history, &sample.ending);
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn a_period_settled_twice_is_found() {
        let mut sample = Sample::good();
        let mut second = sample.audit().settlements[0].clone();
        second.id = Uuid::now_v7();
        sample.audit().settlements.push(second);
        assert!(!periods_settled_twice(sample.audit()).is_empty());
    }

    #[test]
    fn a_payout_made_twice_is_found() {
        let mut sample = Sample::good();
        let books = sample.ending.books.as_mut().unwrap();
        let second = books
            .iter()
            .find(|m| m.kind == Kind::Payout)
            .unwrap()
            .clone();
        books.push(second);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_payout_booked_twice_is_found() {
        let mut sample = Sample::good();
        let lines = &mut sample.audit().ledger;
        let line = lines
            .iter()
            .find(|line| line.kind == "payout")
            .unwrap()
            .clone();
        lines.push(line);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_token_that_goes_back_is_found() {
        let mut sample = Sample::good();
        sample.audit().terms[1].token = 1;
        sample.audit().terms[0].token = 2;
        assert!(!terms_that_go_back(sample.audit()).is_empty());
    }

    #[test]
    fn a_late_write_of_a_paused_leader_is_found() {
        let mut sample = Sample::good();
        let next = sample.audit().terms[1].minted_at;
        let settlement = &mut sample.audit().settlements[0];
        settlement.paid_fence_token = Some(1);
        settlement.paid_at = Some(next + TimeDelta::seconds(5));
        assert!(!effects_after_the_term(sample.audit()).is_empty());
    }

    #[test]
    fn an_unknown_token_is_found() {
        let mut sample = Sample::good();
        sample.audit().tasks[0].fence_token = 99;
        assert!(!tokens_of_nobody(sample.audit()).is_empty());
    }
}
