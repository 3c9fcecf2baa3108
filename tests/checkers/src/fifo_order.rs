//! Promise 6: messages of one FIFO group take effect in order, also when the queue was lost in
//! between and its rows are sent again.
//!
//! Three witnesses are compared with the order: what customers read of an order, one read after the
//! other; the order of `bank`'s books for each order; and the delivery marks of the outbox.

use messages::audit::Audit;
use messages::bank::{Kind, Movement, Outcome};

use super::{Ending, Violation, attempts, groups};
use client::OrderState::{self, Cancelled, Cancelling, Declined, Expired, Paid, Pending};
use client::history::Record;
use client::{Operation, Order};

/// Effects that came out of order.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let (Some(audit), Some(books)) = (&ending.audit, &ending.books) else {
        return Vec::new();
    };
    let mut violations = steps_back(history);
    violations.extend(movements_out_of_order(audit, books));
    violations.extend(deliveries_out_of_order(audit));
    violations
}

/// The states that may be seen after a state.
fn may_follow(before: OrderState, after: OrderState) -> bool {
    match before {
        Pending | Declined => true,
        Paid => matches!(after, Paid | Cancelling | Cancelled),
        Cancelling => matches!(after, Cancelling | Cancelled),
        Cancelled => after == Cancelled,
        Expired => after == Expired,
    }
}

/// Two reads of an order, the second sent after the first was answered, where the second shows an
/// older state than the first.
fn steps_back(history: &[Record]) -> Vec<Violation> {
    let reads = attempts::acknowledged::<Order>(history, Operation::ReadOrder);
    groups::by_key(reads.map(|(record, order)| (order.id, (record, order))))
        .into_iter()
        .flat_map(|(id, reads)| {
            groups::consecutive(
                reads,
                |(record, _)| record.asked_at,
                |(first, before), (second, after)| {
                    let back = !may_follow(before.state, after.state)
                        || after.attempt < before.attempt
                        || (before.cancel_requested && !after.cancel_requested);
                    (first.answered_at < second.asked_at && back).then(|| {
                        Violation::new(format!("order {id} went back"))
                            .shown_by(first)
                            .shown_by(second)
                    })
                },
            )
        })
        .collect()
}

/// For each order: charges by attempt, each after the one before was declined; a refund after the
/// charge; nothing after the refund.
fn movements_out_of_order(audit: &Audit, books: &[Movement]) -> Vec<Violation> {
    let movements = books.iter().map(|movement| (movement.reference, movement));
    let by_order = groups::by_key(movements);
    audit
        .orders
        .iter()
        .filter_map(|order| Some((order.id, by_order.get(&order.id)?)))
        .filter(|(_, movements)| !in_order(movements))
        .map(|(id, movements)| {
            Violation::new(format!("the bank saw order {id} out of order")).shown_by_all(movements)
        })
        .collect()
}

fn in_order(movements: &[&Movement]) -> bool {
    let mut attempt = 0;
    let mut charged = false;
    let mut refunded = false;
    movements.iter().all(|movement| match movement.kind {
        Kind::Charge => {
            let number = attempt_of(&movement.key);
            let fine = !refunded && !charged && number > attempt;
            attempt = number;
            charged = movement.outcome == Outcome::Succeeded;
            fine
        }
        Kind::Refund => {
            let fine = charged && !refunded;
            refunded = movement.outcome == Outcome::Succeeded;
            fine
        }
        Kind::Payout => false,
    })
}

/// The attempt in a key such as `charge-<order>-2`.
fn attempt_of(key: &str) -> u32 {
    key.rsplit('-')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Rows of a group are delivered by their number, without gaps.
fn deliveries_out_of_order(audit: &Audit) -> Vec<Violation> {
    let rows = audit.outbox.iter();
    groups::by_key(rows.map(|row| ((row.destination.as_str(), row.group_id), row)))
        .into_iter()
        .flat_map(|((destination, group), rows)| {
            groups::consecutive(
                rows,
                |row| row.sequence,
                |before, after| {
                    let overtaken = match (before.delivered_at, after.delivered_at) {
                        (Some(before), Some(after)) => after < before,
                        (None, Some(_)) => true,
                        (_, None) => false,
                    };
                    (overtaken || before.sequence == after.sequence).then(|| {
                        Violation::new(format!(
                            "rows of {destination} {group} took effect out of order"
                        ))
                        .shown_by(before)
                        .shown_by(after)
                    })
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn a_good_run_holds() {
        let sample = Sample::good();
        let violations = check(&sample.history, &sample.ending);
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn a_refund_before_its_charge_is_found() {
        let mut sample = Sample::good();
        sample.ending.books.as_mut().unwrap().reverse();
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_charge_after_the_refund_is_found() {
        let mut sample = Sample::good();
        let cancelled = sample.cancelled;
        let books = sample.ending.books.as_mut().unwrap();
        let mut late = books
            .iter()
            .find(|m| m.reference == cancelled)
            .unwrap()
            .clone();
        late.key = format!("charge-{cancelled}-2");
        books.push(late);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_row_delivered_before_the_one_in_front_of_it_is_found() {
        let mut sample = Sample::good();
        let cancelled = sample.cancelled;
        let rows = &mut sample.audit().outbox;
        let first = rows
            .iter_mut()
            .find(|r| r.group_id == cancelled && r.sequence == 1)
            .unwrap();
        first.delivered_at = None;
        assert!(!deliveries_out_of_order(sample.audit()).is_empty());
    }

    #[test]
    fn an_order_that_goes_back_before_a_customers_eyes_is_found() {
        let mut sample = Sample::good();
        sample.look(sample.cancelled, Paid);
        assert!(!steps_back(&sample.history).is_empty());
    }
}
