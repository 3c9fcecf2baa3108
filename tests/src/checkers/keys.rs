//! Promise 4: one `Idempotency-Key`, at most one effect, the same answer again; the same key with
//! another body is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{Ending, Violation};
use crate::client::Operation;
use crate::client::internal::Audit;
use crate::history::{Outcome, Record};

/// Keys with two effects or two answers, and effects that no key accounts for.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let mut violations = Vec::new();
    for attempts in by_key(history).values() {
        violations.extend(two_answers(attempts));
        violations.extend(another_body_taken(attempts));
        violations.extend(wrong_refusal(attempts));
    }
    if let Some(audit) = &ending.audit {
        violations.extend(more_holds_than_keys(history, audit));
        violations.extend(orders_without_a_key(history, audit));
        violations.extend(two_orders_of_a_hold(audit));
    }
    violations
}

type Key<'a> = (Uuid, Operation, Option<Uuid>, &'a str);

fn by_key(history: &[Record]) -> BTreeMap<Key<'_>, Vec<&Record>> {
    let mut groups: BTreeMap<Key, Vec<&Record>> = BTreeMap::new();
    for record in history {
        if let Some(key) = &record.key {
            // Orders name their hold in the body, so the hold is no part of what the key is for.
            let subject = record
                .subject
                .filter(|_| record.operation != Operation::PlaceOrder);
            let group = (record.actor, record.operation, subject, key.as_str());
            groups.entry(group).or_default().push(record);
        }
    }
    groups
}

fn shown<'a>(what: String, records: impl IntoIterator<Item = &'a Record>) -> Violation {
    records
        .into_iter()
        .fold(Violation::new(what), |violation, record| {
            violation.shown_by(record)
        })
}

/// All acknowledgements of a key must be the same.
fn two_answers(attempts: &[&Record]) -> Option<Violation> {
    let acknowledged: Vec<_> = attempts
        .iter()
        .copied()
        .filter(|r| r.is_acknowledged())
        .collect();
    let answers: BTreeSet<_> = acknowledged.iter().map(|r| answer(r)).collect();
    (answers.len() > 1).then(|| {
        let key = attempts[0].key.as_deref().unwrap_or_default();
        shown(
            format!("key {key} was answered in {} ways", answers.len()),
            acknowledged,
        )
    })
}

fn answer(record: &Record) -> (u16, String) {
    let body = record
        .acknowledged_body()
        .map(Value::to_string)
        .unwrap_or_default();
    (record.status().unwrap_or_default(), body)
}

/// Only one body may ever be acknowledged for a key.
fn another_body_taken(attempts: &[&Record]) -> Option<Violation> {
    let acknowledged: Vec<_> = attempts
        .iter()
        .copied()
        .filter(|r| r.is_acknowledged())
        .collect();
    let bodies: BTreeSet<_> = acknowledged.iter().map(|r| r.request.to_string()).collect();
    (bodies.len() > 1).then(|| {
        let key = attempts[0].key.as_deref().unwrap_or_default();
        shown(
            format!("key {key} was taken for {} requests", bodies.len()),
            acknowledged,
        )
    })
}

/// `idempotency-key-reused` is only ever said where the key really came with another body.
fn wrong_refusal(attempts: &[&Record]) -> Option<Violation> {
    let bodies: BTreeSet<_> = attempts.iter().map(|r| r.request.to_string()).collect();
    let refused = attempts.iter().copied().find(|record| {
        matches!(&record.outcome, Outcome::Answered { status: 422, body, .. }
            if body.get("type").and_then(Value::as_str)
                == Some("/problems/idempotency-key-reused"))
    })?;
    (bodies.len() == 1).then(|| {
        let key = refused.key.as_deref().unwrap_or_default();
        shown(
            format!("key {key} was refused although its request never changed"),
            [refused],
        )
    })
}

/// A customer cannot have more holds than keys that he asked for holds with.
fn more_holds_than_keys(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let mut keys: BTreeMap<Uuid, BTreeSet<&str>> = BTreeMap::new();
    for record in history
        .iter()
        .filter(|record| record.operation == Operation::PlaceHold)
    {
        let keys = keys.entry(record.actor).or_default();
        keys.extend(record.key.as_deref());
    }
    keys.into_iter()
        .filter_map(|(customer, keys)| {
            let holds: Vec<_> = audit
                .holds
                .iter()
                .filter(|hold| hold.customer_id == customer)
                .collect();
            (holds.len() > keys.len()).then(|| {
                let what = format!("{} holds of {customer} by {} keys", holds.len(), keys.len());
                holds.iter().fold(Violation::new(what), |violation, hold| {
                    violation.shown_by(hold)
                })
            })
        })
        .collect()
}

/// Every order of a customer of this history was asked for, for this very hold.
fn orders_without_a_key(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let customers: BTreeSet<Uuid> = history.iter().map(|record| record.actor).collect();
    let asked: BTreeSet<(Uuid, Uuid)> = history
        .iter()
        .filter(|record| record.operation == Operation::PlaceOrder)
        .filter_map(|record| Some((record.actor, record.subject?)))
        .collect();
    audit
        .orders
        .iter()
        .filter(|order| customers.contains(&order.customer_id))
        .filter(|order| !asked.contains(&(order.customer_id, order.hold_id)))
        .map(|order| Violation::new(format!("nobody asked for order {}", order.id)).shown_by(order))
        .collect()
}

fn two_orders_of_a_hold(audit: &Audit) -> Vec<Violation> {
    let mut of_hold: BTreeMap<Uuid, Vec<_>> = BTreeMap::new();
    for order in &audit.orders {
        of_hold.entry(order.hold_id).or_default().push(order);
    }
    of_hold
        .into_iter()
        .filter(|(_, orders)| orders.len() > 1)
        .map(|(hold, orders)| {
            let violation = Violation::new(format!("hold {hold} became {} orders", orders.len()));
            orders
                .into_iter()
                .fold(violation, |violation, order| violation.shown_by(order))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::Sample;
    use super::*;

    fn order_record(sample: &Sample) -> Record {
        let mut records = sample.history.iter();
        records
            .find(|r| r.operation == Operation::PlaceOrder)
            .unwrap()
            .clone()
    }

    #[test]
    fn a_good_run_holds_also_when_an_answer_is_repeated() {
        let mut sample = Sample::good();
        let mut again = order_record(&sample);
        again.attempt = 1;
        sample.history.push(again);
        let violations = check(&sample.history, &sample.ending);
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn two_answers_to_one_key_are_found() {
        let mut sample = Sample::good();
        let mut again = order_record(&sample);
        again.outcome = Outcome::Answered {
            status: 202,
            body: json!({"id": Uuid::now_v7()}),
            replayed: false,
        };
        sample.history.push(again);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_key_taken_with_another_body_is_found() {
        let mut sample = Sample::good();
        let mut again = order_record(&sample);
        again.request = json!({"hold_id": Uuid::now_v7()});
        sample.history.push(again);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_key_refused_for_no_reason_is_found() {
        let mut sample = Sample::good();
        let mut again = order_record(&sample);
        again.outcome = Outcome::Answered {
            status: 422,
            body: json!({"type": "/problems/idempotency-key-reused"}),
            replayed: false,
        };
        sample.history.push(again);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_second_effect_of_a_key_is_found_even_if_it_was_never_answered() {
        let mut sample = Sample::good();
        let mut hold = sample.audit().holds[0].clone();
        hold.id = Uuid::now_v7();
        sample.audit().holds.push(hold);
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let mut sample = Sample::good();
        let mut order = sample.audit().orders[0].clone();
        order.id = Uuid::now_v7();
        sample.audit().orders.push(order);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }
}
