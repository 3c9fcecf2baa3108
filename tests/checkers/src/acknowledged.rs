//! Promise 1: whatever was acknowledged to a client is there afterwards.
//!
//! The set of what was acknowledged must be a subset of what is there in the end. An order that
//! was ever shown as paid must not have become anything but cancelled, and that only if its
//! customer asked for it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{CLOCKS, Ending, Violation, attempts};
use client::history::Record;
use client::{
    AccountView, Admission, EventView, Hold, Operation, Order, OrderState, PricedSeat, SeatName,
};
use messages::audit::{Audit, AuditedHold, AuditedOrder};

/// Everything that was acknowledged and is not there.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let Some(audit) = &ending.audit else {
        return Vec::new();
    };
    let there = There {
        audit,
        orders: audit.orders.iter().map(|o| (o.id, o)).collect(),
        holds: audit.holds.iter().map(|h| (h.id, h)).collect(),
        seats: audit.seats.iter().map(|s| (s.id, s.into())).collect(),
    };
    let mut violations = Vec::new();
    for record in history.iter().filter(|record| record.is_acknowledged()) {
        violations.extend(unreadable(record));
        violations.extend(match record.operation {
            Operation::ReadAccount => account(record, ending),
            Operation::PublishEvent => event(record, ending),
            Operation::PlaceHold => hold(record, &there),
            Operation::ReleaseHold => released(record, &there),
            Operation::PlaceOrder => order(record, &there, ending),
            Operation::CancelOrder => cancelled(record, &there),
            Operation::GiveCard => card(record, &there),
            Operation::Scan => admitted(record, &there),
            _ => None,
        });
    }
    violations.extend(paid_and_gone(history, &there));
    violations
}

/// What is there, to be looked up.
struct There<'a> {
    audit: &'a Audit,
    orders: BTreeMap<Uuid, &'a AuditedOrder>,
    holds: BTreeMap<Uuid, &'a AuditedHold>,
    seats: BTreeMap<i64, SeatName>,
}

impl There<'_> {
    /// Whether the seats that were acknowledged are those that are there, name by name.
    fn are_seats(&self, ids: &[i64], acknowledged: &[PricedSeat]) -> bool {
        let there: BTreeSet<_> = ids.iter().filter_map(|id| self.seats.get(id)).collect();
        let acknowledged: BTreeSet<_> = acknowledged.iter().map(|seat| &seat.name).collect();
        there.len() == ids.len() && there == acknowledged
    }
}

/// An acknowledgement whose body cannot be read: it names nothing that could be looked up.
fn unreadable(record: &Record) -> Option<Violation> {
    let is_readable = match record.operation {
        Operation::PlaceHold => record.acknowledged::<Hold>().is_some(),
        Operation::PlaceOrder | Operation::GiveCard => record.acknowledged::<Order>().is_some(),
        Operation::Scan => record.acknowledged::<Admission>().is_some(),
        _ => true,
    };
    if is_readable {
        return None;
    }
    let what = "an acknowledgement does not say of what";
    Some(Violation::new(what).shown_by(record))
}

fn account(record: &Record, ending: &Ending) -> Option<Violation> {
    let account = record.acknowledged::<AccountView>()?;
    let is_gone = account.role == "customer" && !ending.accounts.contains(&account.id);
    is_gone.then(|| {
        Violation::new(format!("account {} or its session is gone", account.id)).shown_by(record)
    })
}

fn event(record: &Record, ending: &Ending) -> Option<Violation> {
    let event = record.acknowledged::<EventView>()?;
    (!ending.events.contains(&event.id))
        .then(|| Violation::new(format!("event {} is gone", event.id)).shown_by(record))
}

fn hold(record: &Record, there: &There) -> Option<Violation> {
    let hold = record.acknowledged::<Hold>()?;
    let stored = there.holds.get(&hold.id);
    let same = stored.is_some_and(|stored| {
        stored.customer_id == record.actor
            && stored.total_minor == hold.total_minor
            && there.are_seats(&stored.seat_ids, &hold.seats)
    });
    (!same).then(|| {
        Violation::new(format!("hold {} is not there as acknowledged", hold.id))
            .shown_by(record)
            .shown_by(&stored)
    })
}

/// A hold that was given back has no seats and is over. Only where its time was over by then may
/// the sweep have come first.
fn released(record: &Record, there: &There) -> Option<Violation> {
    let stored = there.holds.get(&record.subject?)?;
    let mut seats = there.audit.seats.iter();
    if let Some(seat) = seats.find(|seat| seat.hold_id == Some(stored.id)) {
        let what = format!("hold {} was released and still has a seat", stored.id);
        return Some(Violation::new(what).shown_by(record).shown_by(seat));
    }
    let is_over = match stored.state.as_str() {
        "released" => true,
        "expired" => stored.expires_at <= record.answered_at + CLOCKS,
        _ => false,
    };
    (!is_over).then(|| {
        let what = format!("hold {} was released and is {}", stored.id, stored.state);
        Violation::new(what).shown_by(record).shown_by(stored)
    })
}

fn order(record: &Record, there: &There, ending: &Ending) -> Option<Violation> {
    let order = record.acknowledged::<Order>()?;
    let stored = there.orders.get(&order.id);
    let same = stored.is_some_and(|stored| {
        stored.customer_id == record.actor
            && stored.hold_id == order.hold_id
            && stored.total_minor == order.total_minor
            && there.are_seats(&stored.seat_ids, &order.seats)
    });
    if !same {
        let what = format!("order {} is not there as acknowledged", order.id);
        return Some(Violation::new(what).shown_by(record).shown_by(&stored));
    }
    let is_unlisted = ending.accounts.contains(&record.actor) && ending.order(order.id).is_none();
    is_unlisted.then(|| {
        Violation::new(format!("order {} is not in its customer's list", order.id)).shown_by(record)
    })
}

fn cancelled(record: &Record, there: &There) -> Option<Violation> {
    let stored = there.orders.get(&record.subject?)?;
    (stored.state != OrderState::Cancelled).then(|| {
        Violation::new(format!("the cancellation of order {} is lost", stored.id))
            .shown_by(record)
            .shown_by(stored)
    })
}

fn card(record: &Record, there: &There) -> Option<Violation> {
    let order = record.acknowledged::<Order>()?;
    let stored = there.orders.get(&order.id);
    stored
        .is_none_or(|stored| stored.attempt < order.attempt)
        .then(|| {
            Violation::new(format!("the new card of order {} is lost", order.id))
                .shown_by(record)
                .shown_by(&stored)
        })
}

fn admitted(record: &Record, there: &There) -> Option<Violation> {
    let admission = record.acknowledged::<Admission>()?;
    let mut tickets = there.audit.tickets.iter();
    let stored = tickets.find(|ticket| ticket.id == admission.ticket_id);
    stored
        .is_none_or(|ticket| ticket.state != "admitted")
        .then(|| {
            let what = format!("the admission of ticket {} is lost", admission.ticket_id);
            Violation::new(what).shown_by(record).shown_by(&stored)
        })
}

/// Orders that were shown as paid and are no longer, although no cancellation was sent.
fn paid_and_gone(history: &[Record], there: &There) -> Vec<Violation> {
    let cancels: BTreeSet<Uuid> = attempts::of(history, Operation::CancelOrder)
        .filter_map(|record| record.subject)
        .collect();
    let mut seen = BTreeSet::new();
    attempts::acknowledged::<Order>(history, Operation::ReadOrder)
        .filter(|(_, order)| order.state == OrderState::Paid && seen.insert(order.id))
        .filter_map(|(record, order)| {
            let stored = there.orders.get(&order.id);
            let fine = stored.is_some_and(|stored| {
                stored.state == OrderState::Paid
                    || (cancels.contains(&order.id)
                        && matches!(stored.state, OrderState::Cancelling | OrderState::Cancelled))
            });
            (!fine).then(|| {
                Violation::new(format!("order {} was paid and is not any more", order.id))
                    .shown_by(record)
                    .shown_by(&stored)
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
    fn an_acknowledgement_that_cannot_be_read_is_found() {
        let mut sample = Sample::good();
        let again = sample.repeat(Operation::PlaceOrder);
        if let client::history::Outcome::Answered { body, .. } = &mut again.outcome {
            *body = serde_json::Value::Null;
        }
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_lost_hold_is_found() {
        let mut sample = Sample::good();
        sample.audit().holds.remove(0);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_hold_and_an_order_of_other_seats_than_acknowledged_are_found() {
        // As many, and at the same price.
        let mut sample = Sample::good();
        let released = sample.released;
        sample.audit_hold(released).seat_ids = vec![1];
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let mut sample = Sample::good();
        let cancelled = sample.cancelled;
        sample.audit_order(cancelled).seat_ids = vec![4];
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_release_that_was_forgotten_until_the_sweep_came_is_found() {
        let mut sample = Sample::good();
        let released = sample.released;
        sample.audit_hold(released).state = "expired".to_owned();
        assert!(!check(&sample.history, &sample.ending).is_empty());
        // Its time was over before it was given back: the sweep may have come first.
        let answered = sample.history.iter().rev();
        let mut answered = answered.filter(|r| r.operation == Operation::ReleaseHold);
        let over = answered.next().unwrap().asked_at;
        sample.audit_hold(released).expires_at = over;
        assert!(check(&sample.history, &sample.ending).is_empty());
        sample.audit_hold(released).state = "active".to_owned();
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
