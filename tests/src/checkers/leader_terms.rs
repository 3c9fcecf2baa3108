//! Promise 7: a leader's task takes effect at most once for each period; tokens stored with its
//! effects never decrease; a leader that was paused and wakes up late is refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use messages::bank::{Kind, Movement};
use serde_json::{Value, json};
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
    let effects = effects(audit);
    let mut violations = periods_settled_twice(audit);
    violations.extend(payouts_made_twice(audit, books));
    violations.extend(terms_that_go_back(audit));
    violations.extend(paid_by_an_older_leader(audit));
    violations.extend(tokens_that_go_back(&effects));
    violations.extend(effects_after_the_term(audit, &effects));
    violations.extend(tokens_of_nobody(audit, &effects));
    violations
}

/// Something that a leader wrote under its token, and when.
struct Effect {
    kind: String,
    at: DateTime<Utc>,
    token: i64,
    shown: Value,
}

/// Everything that carries a token and a time: settlements, payouts, rows sent to the queues, and
/// the last effect of each task (of which the sweep leaves nothing else).
fn effects(audit: &Audit) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut add = |kind: &str, at: Option<DateTime<Utc>>, token: Option<i64>, shown: Value| {
        if let (Some(at), Some(token)) = (at, token) {
            let kind = kind.to_owned();
            effects.push(Effect {
                kind,
                at,
                token,
                shown,
            });
        }
    };
    for settlement in &audit.settlements {
        let (recorded, by) = (Some(settlement.created_at), Some(settlement.fence_token));
        add("a settlement recorded", recorded, by, json!(settlement));
        let (paid, by) = (settlement.paid_at, settlement.paid_fence_token);
        add("a settlement paid", paid, by, json!(settlement));
    }
    for line in &audit.ledger {
        add(
            "a payout booked",
            Some(line.created_at),
            line.fence_token,
            json!(line),
        );
    }
    for row in &audit.outbox {
        let kind = format!("a row sent to {}", row.destination);
        add(&kind, row.sent_at, row.fence_token, json!(row));
    }
    for task in &audit.tasks {
        let kind = format!("an effect of the task {}", task.task);
        add(
            &kind,
            task.last_effect_at,
            Some(task.fence_token),
            json!(task),
        );
    }
    effects
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

fn paid_by_an_older_leader(audit: &Audit) -> Vec<Violation> {
    let mut settlements = audit.settlements.iter().collect::<Vec<_>>();
    settlements.retain(|settlement| {
        settlement
            .paid_fence_token
            .is_some_and(|token| token < settlement.fence_token)
    });
    settlements
        .into_iter()
        .map(|settlement| {
            Violation::new("a settlement was paid by a leader older than its recorder")
                .shown_by(settlement)
        })
        .collect()
}

/// Of each kind of effect, a later one never has a smaller token.
fn tokens_that_go_back(effects: &[Effect]) -> Vec<Violation> {
    let mut kinds: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        kinds.entry(&effect.kind).or_default().push(effect);
    }
    let mut violations = Vec::new();
    for (kind, mut effects) in kinds {
        effects.sort_by_key(|effect| effect.at);
        let back = effects
            .windows(2)
            .filter(|pair| pair[1].token < pair[0].token);
        violations.extend(back.map(|pair| {
            Violation::new(format!("{kind}: a token went back"))
                .shown_by(&pair[0].shown)
                .shown_by(&pair[1].shown)
        }));
    }
    violations
}

/// No effect with a token comes after the next token was minted: that is what a leader that woke
/// up late would do.
fn effects_after_the_term(audit: &Audit, effects: &[Effect]) -> Vec<Violation> {
    let over = |token: i64| {
        let later = audit.terms.iter().filter(|term| term.token > token);
        later.map(|term| term.minted_at).min()
    };
    effects
        .iter()
        .filter(|effect| over(effect.token).is_some_and(|over| effect.at > over))
        .map(|effect| {
            Violation::new(format!("{} after its leader's term", effect.kind))
                .shown_by(&effect.shown)
        })
        .collect()
}

/// Tokens are minted in one place: an effect's token must be known there.
fn tokens_of_nobody(audit: &Audit, effects: &[Effect]) -> Vec<Violation> {
    let minted: BTreeSet<i64> = audit.terms.iter().map(|term| term.token).collect();
    let Some(oldest) = minted.first() else {
        return Vec::new();
    };
    let unknown: BTreeSet<i64> = effects
        .iter()
        .map(|effect| effect.token)
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
        assert!(!late(sample.audit()).is_empty());
    }

    fn late(audit: &Audit) -> Vec<Violation> {
        effects_after_the_term(audit, &effects(audit))
    }

    #[test]
    fn a_row_that_a_paused_leader_sends_late_is_found() {
        let mut sample = Sample::good();
        let next = sample.audit().terms[1].minted_at;
        sample.audit().outbox[0].sent_at = Some(next + TimeDelta::seconds(5));
        assert!(!late(sample.audit()).is_empty());
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_row_sent_under_an_older_token_than_the_row_before_is_found() {
        let mut sample = Sample::good();
        let rows = &mut sample.audit().outbox;
        rows[0].fence_token = Some(2);
        rows[1].destination = "tickets".to_owned();
        let found = tokens_that_go_back(&effects(sample.audit()));
        assert_eq!(found.len(), 1, "each destination by itself: {found:?}");
    }

    #[test]
    fn a_sweep_after_the_term_is_found() {
        let mut sample = Sample::good();
        let next = sample.audit().terms[1].minted_at;
        let task = &mut sample.audit().tasks[0];
        task.task = "sweep".to_owned();
        task.fence_token = 1;
        task.last_effect_at = Some(next + TimeDelta::seconds(5));
        assert!(!late(sample.audit()).is_empty());
    }

    #[test]
    fn an_unknown_token_is_found() {
        let mut sample = Sample::good();
        sample.audit().outbox[0].fence_token = Some(99);
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let mut sample = Sample::good();
        sample.audit().tasks[0].fence_token = 99;
        let audit = sample.audit();
        assert!(!tokens_of_nobody(audit, &effects(audit)).is_empty());
    }
}
