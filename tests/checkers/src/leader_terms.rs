//! Promise 7: a leader's task takes effect at most once for each period; tokens stored with its
//! effects never decrease; a leader that was paused and wakes up late is refused.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use messages::audit::Audit;
use messages::bank::{Kind, Movement};
use serde_json::{Value, json};

use super::{Ending, Violation, groups};
use client::history::Record;

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
    let settlements = audit.settlements.iter();
    groups::duplicates(
        settlements.map(|settlement| (settlement.period, settlement)),
        |period, times| format!("period {period} was settled {times} times"),
    )
}

fn payouts_made_twice(audit: &Audit, books: &[Movement]) -> Vec<Violation> {
    let payouts = books.iter().filter(|made| made.kind == Kind::Payout);
    let payouts = groups::by_key(payouts.map(|made| (made.reference, made)));
    let lines = audit.ledger.iter();
    let lines = groups::by_key(lines.filter_map(|line| Some((line.settlement_id?, line))));
    audit
        .settlements
        .iter()
        .filter_map(|settlement| {
            let payouts = payouts.get(&settlement.id).into_iter().flatten();
            let made = payouts.clone().count();
            let booked = lines.get(&settlement.id).map_or(0, Vec::len);
            (made > 1 || booked > 1).then(|| {
                Violation::new(format!(
                    "settlement {} was paid out {made} times and booked {booked} times",
                    settlement.id
                ))
                .shown_by(settlement)
                .shown_by_all(payouts)
            })
        })
        .collect()
}

/// A later term has a greater token.
fn terms_that_go_back(audit: &Audit) -> Vec<Violation> {
    groups::consecutive(
        audit.terms.iter().collect(),
        |term| term.minted_at,
        |before, after| {
            (after.token <= before.token).then(|| {
                Violation::new("a later term has no greater token")
                    .shown_by(before)
                    .shown_by(after)
            })
        },
    )
}

fn paid_by_an_older_leader(audit: &Audit) -> Vec<Violation> {
    let settlements = audit.settlements.iter();
    settlements
        .filter(|settlement| {
            let paid_by = settlement.paid_fence_token;
            paid_by.is_some_and(|token| token < settlement.fence_token)
        })
        .map(|settlement| {
            Violation::new("a settlement was paid by a leader older than its recorder")
                .shown_by(settlement)
        })
        .collect()
}

/// Of each kind of effect, a later one never has a smaller token.
fn tokens_that_go_back(effects: &[Effect]) -> Vec<Violation> {
    let kinds = effects.iter().map(|effect| (effect.kind.as_str(), effect));
    groups::by_key(kinds)
        .into_iter()
        .flat_map(|(kind, effects)| {
            groups::consecutive(
                effects,
                |effect| effect.at,
                |before, after| {
                    (after.token < before.token).then(|| {
                        Violation::new(format!("{kind}: a token went back"))
                            .shown_by(&before.shown)
                            .shown_by(&after.shown)
                    })
                },
            )
        })
        .collect()
}

/// No effect with a token comes after the next token was minted: a leader that woke up late would
/// write one.
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
    use uuid::Uuid;

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
