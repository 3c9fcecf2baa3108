//! Promise 4: one `Idempotency-Key`, at most one effect, the same answer again; the same key with
//! another body is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{Ending, Violation, attempts, groups};
use client::history::Record;
use client::{Hold, Operation};
use messages::audit::Audit;

/// Keys with two effects or two answers, and effects that no key accounts for.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((.., key), attempts) in by_key(history) {
        let acknowledged = attempts.iter().copied();
        let acknowledged: Vec<_> = acknowledged.filter(|r| r.is_acknowledged()).collect();
        violations.extend(two_answers(key, &acknowledged));
        violations.extend(another_body_taken(key, &acknowledged));
        violations.extend(wrong_refusal(key, &attempts));
        violations.extend(not_the_same_again(key, &attempts, &acknowledged));
    }
    if let Some(audit) = &ending.audit {
        violations.extend(holds_without_a_key(history, audit));
        violations.extend(orders_without_a_key(history, audit));
        violations.extend(two_orders_of_a_hold(audit));
    }
    violations
}

type Key<'a> = (Uuid, Operation, Option<Uuid>, &'a str);

fn by_key(history: &[Record]) -> BTreeMap<Key<'_>, Vec<&Record>> {
    groups::by_key(history.iter().filter_map(|record| {
        // Orders name their hold in the body, so the hold is no part of what the key is for.
        let subject = record
            .subject
            .filter(|_| record.operation != Operation::PlaceOrder);
        let key = record.key.as_deref()?;
        Some(((record.actor, record.operation, subject, key), record))
    }))
}

/// All acknowledgements of a key must be the same.
fn two_answers(key: &str, acknowledged: &[&Record]) -> Option<Violation> {
    let answers: BTreeSet<_> = acknowledged.iter().map(|r| answer(r)).collect();
    (answers.len() > 1).then(|| {
        let what = format!("key {key} was answered in {} ways", answers.len());
        Violation::new(what).shown_by_all(acknowledged)
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
fn another_body_taken(key: &str, acknowledged: &[&Record]) -> Option<Violation> {
    let bodies = bodies(acknowledged);
    (bodies.len() > 1).then(|| {
        let what = format!("key {key} was taken for {} requests", bodies.len());
        Violation::new(what).shown_by_all(acknowledged)
    })
}

fn bodies(attempts: &[&Record]) -> BTreeSet<String> {
    attempts.iter().map(|r| r.request.to_string()).collect()
}

/// `idempotency-key-reused` is only ever said where the key really came with another body.
fn wrong_refusal(key: &str, attempts: &[&Record]) -> Option<Violation> {
    let refused = attempts.iter().find(|record| {
        record.status() == Some(422) && record.problem() == Some("idempotency-key-reused")
    })?;
    (bodies(attempts).len() == 1).then(|| {
        let what = format!("key {key} was refused although its request never changed");
        Violation::new(what).shown_by(refused)
    })
}

/// The same request after an acknowledgement gets the same acknowledgement, marked as replayed: it
/// is neither refused nor made anew.
fn not_the_same_again(key: &str, attempts: &[&Record], acknowledged: &[&Record]) -> Vec<Violation> {
    let first_of = |again: &Record| {
        acknowledged
            .iter()
            .filter(|first| first.request == again.request && first.answered_at < again.asked_at)
            .min_by_key(|first| first.answered_at)
    };
    let mut violations = Vec::new();
    for again in attempts {
        let what = if is_refused_for_good(again) {
            "was refused after it had been acknowledged"
        } else if again.is_acknowledged() && !again.is_replayed() {
            "was acknowledged anew"
        } else {
            continue;
        };
        if let Some(first) = first_of(again) {
            let what = format!("key {key} {what}");
            violations.push(Violation::new(what).shown_by(first).shown_by(again));
        }
    }
    violations
}

/// Refused after the request was looked at. These refusals come before that: no session, too many
/// requests or one that came too slowly, rows in use. The history withholds what was sent with a
/// password, so two such requests cannot be compared.
fn is_refused_for_good(record: &Record) -> bool {
    let is_definite = record
        .status()
        .is_some_and(|status| (400..500).contains(&status) && !matches!(status, 401 | 408 | 429));
    is_definite
        && !matches!(record.problem(), Some("busy" | "seats-busy"))
        && !record.operation.is_confidential()
}

/// Each hold of a customer of this history was acknowledged, or comes from a key whose outcome is
/// unknown.
fn holds_without_a_key(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let mut acknowledged: BTreeSet<Uuid> = BTreeSet::new();
    let mut answered: BTreeSet<(Uuid, &str)> = BTreeSet::new();
    let mut open: BTreeSet<(Uuid, &str)> = BTreeSet::new();
    for record in attempts::of(history, Operation::PlaceHold) {
        let key = (record.actor, record.key.as_deref().unwrap_or_default());
        if record.is_acknowledged() {
            answered.insert(key);
            acknowledged.extend(record.acknowledged::<Hold>().map(|hold| hold.id));
        } else if record.leaves_open() {
            open.insert(key);
        }
    }
    let customers = customers(history);
    let unexplained = audit
        .holds
        .iter()
        .filter(|hold| customers.contains(&hold.customer_id) && !acknowledged.contains(&hold.id));
    let left = |customer| {
        let open = open.difference(&answered);
        open.filter(|(actor, _)| *actor == customer).count()
    };
    groups::by_key(unexplained.map(|hold| (hold.customer_id, hold)))
        .into_iter()
        .map(|(customer, holds)| (customer, holds, left(customer)))
        .filter(|(_, holds, left)| holds.len() > *left)
        .map(|(customer, holds, left)| {
            let what = format!(
                "{} holds of {customer} were never acknowledged, and {left} of its keys have no \
                 answer",
                holds.len()
            );
            Violation::new(what).shown_by_all(holds)
        })
        .collect()
}

fn customers(history: &[Record]) -> BTreeSet<Uuid> {
    history.iter().map(|record| record.actor).collect()
}

/// Each order of a customer of this history comes from a request for this very hold that was not
/// refused.
fn orders_without_a_key(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let customers = customers(history);
    let asked: BTreeSet<(Uuid, Uuid)> = attempts::of(history, Operation::PlaceOrder)
        .filter(|record| record.is_acknowledged() || record.leaves_open())
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
    let orders = audit.orders.iter().map(|order| (order.hold_id, order));
    groups::duplicates(orders, |hold, orders| {
        format!("hold {hold} became {orders} orders")
    })
}

#[cfg(test)]
mod tests {
    use client::history::Outcome;
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
        sample.repeat(Operation::PlaceOrder);
        let violations = check(&sample.history, &sample.ending);
        assert!(violations.is_empty(), "{violations:?}");
    }

    fn refused(status: u16, problem: &str) -> Outcome {
        Outcome::Answered {
            status,
            body: json!({"type": format!("/problems/{problem}")}),
            replayed: false,
        }
    }

    #[test]
    fn a_refusal_after_an_acknowledgement_is_found() {
        let mut sample = Sample::good();
        sample.repeat(Operation::PlaceOrder).outcome = refused(409, "hold-ordered");
        let found = check(&sample.history, &sample.ending);
        assert!(
            found.iter().any(|v| v.what.contains("was refused after")),
            "{found:?}"
        );
        for (status, problem) in [
            (401, "unauthorized"),
            (429, "too-many-requests"),
            (409, "busy"),
        ] {
            let mut sample = Sample::good();
            sample.repeat(Operation::PlaceOrder).outcome = refused(status, problem);
            assert!(
                check(&sample.history, &sample.ending).is_empty(),
                "{problem}"
            );
        }
    }

    #[test]
    fn the_same_answer_made_anew_is_found() {
        let mut sample = Sample::good();
        let again = sample.repeat(Operation::CancelOrder);
        if let Outcome::Answered { replayed, .. } = &mut again.outcome {
            *replayed = false;
        }
        assert!(!check(&sample.history, &sample.ending).is_empty());
        // Asked before the first answer came, either may be the first.
        let again = sample.history.last_mut().unwrap();
        again.asked_at -= chrono::TimeDelta::seconds(300);
        assert!(check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_hold_of_a_key_that_was_refused_is_found_and_one_of_an_unknown_outcome_is_not() {
        let mut sample = Sample::good();
        let mut hold = sample.audit().holds[0].clone();
        hold.id = Uuid::now_v7();
        sample.audit().holds.push(hold);
        let asked = sample.repeat(Operation::PlaceHold);
        asked.key = Some("another".to_owned());
        asked.outcome = refused(409, "seats-taken");
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let reason = "the connection broke".to_owned();
        sample.history.last_mut().unwrap().outcome = Outcome::Unknown { reason };
        let violations = check(&sample.history, &sample.ending);
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn an_order_that_was_refused_and_made_all_the_same_is_found() {
        let mut sample = Sample::good();
        let mut records = sample.history.iter_mut();
        let record = records.find(|r| r.operation == Operation::PlaceOrder);
        record.unwrap().outcome = refused(409, "hold-expired");
        assert!(!check(&sample.history, &sample.ending).is_empty());
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
