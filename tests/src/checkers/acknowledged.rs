//! Promise 1: whatever was acknowledged to a client is there afterwards.
//!
//! The set of what was acknowledged must be a subset of what is there in the end. An order that
//! was ever shown as paid must not have become anything but cancelled, and that only if its
//! customer asked for it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Ending, Violation};
use crate::client::internal::{Audit, AuditOrder};
use crate::client::{AccountView, Admission, EventView, Hold, Operation, Order, OrderState};
use crate::history::Record;

/// Everything that was acknowledged and is not there.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let Some(audit) = &ending.audit else {
        return Vec::new();
    };
    let orders: BTreeMap<Uuid, &AuditOrder> = audit.orders.iter().map(|o| (o.id, o)).collect();
    let mut violations = Vec::new();
    for record in history.iter().filter(|record| record.is_acknowledged()) {
        match record.operation {
            Operation::ReadAccount => account(record, ending, &mut violations),
            Operation::PublishEvent => event(record, ending, &mut violations),
            Operation::PlaceHold => hold(record, audit, &mut violations),
            Operation::ReleaseHold => released(record, audit, &mut violations),
            Operation::PlaceOrder => order(record, &orders, ending, &mut violations),
            Operation::CancelOrder => cancelled(record, &orders, &mut violations),
            Operation::GiveCard => card(record, &orders, &mut violations),
            Operation::Scan => admitted(record, audit, &mut violations),
            _ => {}
        }
    }
    violations.extend(paid_and_gone(history, &orders));
    violations
}

fn account(record: &Record, ending: &Ending, violations: &mut Vec<Violation>) {
    let Some(account) = record.acknowledged::<AccountView>() else {
        return;
    };
    if account.role == "customer" && !ending.accounts.contains(&account.id) {
        violations.push(
            Violation::new(format!("account {} or its session is gone", account.id))
                .shown_by(record),
        );
    }
}

fn event(record: &Record, ending: &Ending, violations: &mut Vec<Violation>) {
    let Some(event) = record.acknowledged::<EventView>() else {
        return;
    };
    if !ending.events.contains(&event.id) {
        violations.push(Violation::new(format!("event {} is gone", event.id)).shown_by(record));
    }
}

fn hold(record: &Record, audit: &Audit, violations: &mut Vec<Violation>) {
    let Some(hold) = record.acknowledged::<Hold>() else {
        return;
    };
    let there = audit.holds.iter().find(|there| there.id == hold.id);
    let same = there.is_some_and(|there| {
        there.customer_id == record.actor
            && there.total_minor == hold.total_minor
            && there.seat_ids.len() == hold.seats.len()
    });
    if !same {
        violations.push(
            Violation::new(format!("hold {} is not there as acknowledged", hold.id))
                .shown_by(record)
                .shown_by(&there),
        );
    }
}

fn released(record: &Record, audit: &Audit, violations: &mut Vec<Violation>) {
    let Some(id) = record.subject else { return };
    if let Some(seat) = audit.seats.iter().find(|seat| seat.hold_id == Some(id)) {
        violations.push(
            Violation::new(format!("hold {id} was released and still has a seat"))
                .shown_by(record)
                .shown_by(seat),
        );
    }
}

fn order(
    record: &Record,
    orders: &BTreeMap<Uuid, &AuditOrder>,
    ending: &Ending,
    violations: &mut Vec<Violation>,
) {
    let Some(order) = record.acknowledged::<Order>() else {
        return;
    };
    let there = orders.get(&order.id);
    let same = there.is_some_and(|there| {
        there.customer_id == record.actor
            && there.hold_id == order.hold_id
            && there.total_minor == order.total_minor
            && there.seat_ids.len() == order.seats.len()
    });
    if !same {
        violations.push(
            Violation::new(format!("order {} is not there as acknowledged", order.id))
                .shown_by(record)
                .shown_by(&there),
        );
    } else if ending.accounts.contains(&record.actor) && ending.order(order.id).is_none() {
        violations.push(
            Violation::new(format!("order {} is not in its customer's list", order.id))
                .shown_by(record),
        );
    }
}

fn cancelled(
    record: &Record,
    orders: &BTreeMap<Uuid, &AuditOrder>,
    violations: &mut Vec<Violation>,
) {
    let Some(there) = record.subject.and_then(|id| orders.get(&id)) else {
        return;
    };
    if there.state != OrderState::Cancelled {
        violations.push(
            Violation::new(format!("the cancellation of order {} is lost", there.id))
                .shown_by(record)
                .shown_by(there),
        );
    }
}

fn card(record: &Record, orders: &BTreeMap<Uuid, &AuditOrder>, violations: &mut Vec<Violation>) {
    let Some(order) = record.acknowledged::<Order>() else {
        return;
    };
    let there = orders.get(&order.id);
    if there.is_none_or(|there| there.attempt < order.attempt) {
        violations.push(
            Violation::new(format!("the new card of order {} is lost", order.id))
                .shown_by(record)
                .shown_by(&there),
        );
    }
}

fn admitted(record: &Record, audit: &Audit, violations: &mut Vec<Violation>) {
    let Some(admission) = record.acknowledged::<Admission>() else {
        return;
    };
    let there = audit
        .tickets
        .iter()
        .find(|ticket| ticket.id == admission.ticket_id);
    if there.is_none_or(|ticket| ticket.state != "admitted") {
        violations.push(
            Violation::new(format!(
                "the admission of ticket {} is lost",
                admission.ticket_id
            ))
            .shown_by(record)
            .shown_by(&there),
        );
    }
}

/// Orders that were shown as paid and are no longer, although nobody asked to cancel them.
fn paid_and_gone(history: &[Record], orders: &BTreeMap<Uuid, &AuditOrder>) -> Vec<Violation> {
    let cancels: BTreeSet<Uuid> = history
        .iter()
        .filter(|record| record.operation == Operation::CancelOrder)
        .filter_map(|record| record.subject)
        .collect();
    let mut seen = BTreeSet::new();
    history
        .iter()
        .filter(|record| record.operation == Operation::ReadOrder)
        .filter_map(|record| Some((record, record.acknowledged::<Order>()?)))
        .filter(|(_, order)| order.state == OrderState::Paid && seen.insert(order.id))
        .filter_map(|(record, order)| {
            let there = orders.get(&order.id);
            let fine = there.is_some_and(|there| {
                there.state == OrderState::Paid
                    || (cancels.contains(&order.id)
                        && matches!(there.state, OrderState::Cancelling | OrderState::Cancelled))
            });
            (!fine).then(|| {
                Violation::new(format!("order {} was paid and is not any more", order.id))
                    .shown_by(record)
                    .shown_by(&there)
            })
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
        assert!(check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_lost_order_is_found() {
        let mut sample = Sample::good();
        sample.audit().orders.pop();
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_lost_hold_is_found() {
        let mut sample = Sample::good();
        sample.audit().holds.remove(0);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn an_order_missing_from_its_customers_list_is_found() {
        let mut sample = Sample::good();
        sample.ending.orders.pop();
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_forgotten_cancellation_is_found() {
        let mut sample = Sample::good();
        let cancelled = sample.cancelled;
        sample.audit_order(cancelled).state = OrderState::Paid;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_paid_order_that_expired_is_found() {
        let mut sample = Sample::good();
        let paid = sample.paid;
        sample.audit_order(paid).state = OrderState::Expired;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_lost_account_and_a_lost_event_are_found() {
        let mut sample = Sample::good();
        sample.ending.accounts.clear();
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let mut sample = Sample::good();
        sample.ending.events.clear();
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_lost_admission_is_found() {
        let mut sample = Sample::good();
        for ticket in &mut sample.audit().tickets {
            if ticket.state == "admitted" {
                ticket.state = "valid".to_owned();
            }
        }
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }
}
