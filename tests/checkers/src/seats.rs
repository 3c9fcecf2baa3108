//! Promise 2: no seat is sold twice, and a hold never outlives its expiry by more than a sweep.
//!
//! Looked at from three sides: the orders and tickets that are there in the end; the seats'
//! own rows; and the history, in which the times during which a customer certainly had a seat
//! must not overlap with those of another, and no hold becomes an order once it is over.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{CLOCKS, Ending, Violation, attempts, groups};
use client::history::Record;
use client::{Hold, Operation, Order};
use messages::audit::{Audit, AuditedHold, AuditedOrder};

/// The sweep runs each second; the rest is for a leader that was just elected.
pub const SWEEP_BOUND: TimeDelta = TimeDelta::seconds(3);

/// Seats that two have, and holds that outlived their expiry.
#[must_use]
pub fn check(history: &[Record], ending: &Ending) -> Vec<Violation> {
    let Some(audit) = &ending.audit else {
        return Vec::new();
    };
    let mut violations = two_orders_of_a_seat(audit);
    violations.extend(two_tickets_of_a_seat(audit));
    violations.extend(rows_that_disagree(audit));
    violations.extend(overlapping_possession(history, audit));
    violations.extend(stale_holds(audit));
    violations.extend(orders_of_holds_that_were_over(history, audit));
    violations
}

/// Each seat that an order has, with the order.
fn owners(audit: &Audit) -> impl Iterator<Item = (i64, &AuditedOrder)> {
    let orders = audit.orders.iter().filter(|order| order.state.has_seats());
    orders.flat_map(|order| order.seat_ids.iter().map(move |seat| (*seat, order)))
}

fn two_orders_of_a_seat(audit: &Audit) -> Vec<Violation> {
    groups::duplicates(owners(audit), |seat, orders| {
        format!("seat {seat} has {orders} owners")
    })
}

fn two_tickets_of_a_seat(audit: &Audit) -> Vec<Violation> {
    let tickets = audit.tickets.iter();
    let live = tickets.filter(|ticket| ticket.state != "cancelled");
    groups::duplicates(
        live.map(|ticket| (ticket.seat_id, ticket)),
        |seat, tickets| format!("seat {seat} has {tickets} tickets"),
    )
}

/// A seat's own row must name the order that has it, and no other.
fn rows_that_disagree(audit: &Audit) -> Vec<Violation> {
    let owners = owners(audit).map(|(seat, order)| (seat, order.id));
    let owners: BTreeMap<i64, Uuid> = owners.collect();
    audit
        .seats
        .iter()
        .filter(|seat| seat.order_id != owners.get(&seat.id).copied())
        .map(|seat| {
            let owner = owners.get(&seat.id);
            Violation::new(format!(
                "seat {} belongs to {owner:?} and says otherwise",
                seat.id
            ))
            .shown_by(seat)
        })
        .collect()
}

fn stale_holds(audit: &Audit) -> Vec<Violation> {
    let limit = audit.read_at - SWEEP_BOUND;
    let stale = |until: Option<DateTime<Utc>>| until.is_some_and(|until| until < limit);
    let seats = audit
        .seats
        .iter()
        .filter(|seat| stale(seat.held_until))
        .map(|seat| {
            Violation::new(format!("seat {} is held by a hold that is over", seat.id))
                .shown_by(seat)
        });
    let holds = audit
        .holds
        .iter()
        .filter(|hold| hold.state == "active" && stale(Some(hold.expires_at)));
    seats
        .chain(holds.map(|hold| {
            Violation::new(format!("hold {} outlived its expiry", hold.id)).shown_by(hold)
        }))
        .collect()
}

/// Orders that were accepted although their hold was over before the request was sent. A replayed
/// answer says nothing of when the first one was given.
fn orders_of_holds_that_were_over(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let holds: BTreeMap<Uuid, &AuditedHold> = audit.holds.iter().map(|h| (h.id, h)).collect();
    attempts::of(history, Operation::PlaceOrder)
        .filter(|record| record.is_acknowledged() && !record.is_replayed())
        .filter_map(|record| Some((record, holds.get(&record.subject?)?)))
        .filter(|(record, hold)| record.asked_at > hold.expires_at + CLOCKS)
        .map(|(record, hold)| {
            let what = format!("hold {} was ordered after its time was over", hold.id);
            Violation::new(what).shown_by(record).shown_by(hold)
        })
        .collect()
}

/// A time during which a hold, or the order made from it, certainly had its seats.
struct Possession<'a> {
    hold_id: Uuid,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    record: &'a Record,
}

fn overlapping_possession(history: &[Record], audit: &Audit) -> Vec<Violation> {
    let possessions = first_answers(history);
    let possessions = possessions.into_iter().flat_map(|(hold, from, record)| {
        let (hold_id, until) = (hold.id, certainly_until(&hold, history, audit));
        hold.seats.into_iter().map(move |seat| {
            let possession = Possession {
                hold_id,
                from,
                until,
                record,
            };
            (seat.name, possession)
        })
    });
    // Of a hold whose first answer came after its time was over nothing is certain.
    let possessions = possessions.filter(|(_, possession)| possession.from < possession.until);
    let mut violations = Vec::new();
    for (seat, mut possessions) in groups::by_key(possessions) {
        possessions.sort_by_key(|possession| possession.from);
        let mut latest: Option<&Possession> = None;
        for possession in &possessions {
            if let Some(before) = latest
                && possession.from + CLOCKS < before.until
            {
                violations.push(
                    Violation::new(format!(
                        "seat {seat} was with {} and {} at once",
                        before.hold_id, possession.hold_id
                    ))
                    .shown_by(before.record)
                    .shown_by(possession.record),
                );
            }
            if latest.is_none_or(|before| before.until < possession.until) {
                latest = Some(possession);
            }
        }
    }
    violations
}

/// Each acknowledged hold with the time of its first acknowledgement.
fn first_answers(history: &[Record]) -> Vec<(Hold, DateTime<Utc>, &Record)> {
    let mut first: BTreeMap<Uuid, (Hold, DateTime<Utc>, &Record)> = BTreeMap::new();
    for (record, hold) in attempts::acknowledged::<Hold>(history, Operation::PlaceHold) {
        let entry = first
            .entry(hold.id)
            .or_insert((hold, record.answered_at, record));
        entry.1 = entry.1.min(record.answered_at);
    }
    first.into_values().collect()
}

fn certainly_until(hold: &Hold, history: &[Record], audit: &Audit) -> DateTime<Utc> {
    let Some(order) = audit.orders.iter().find(|order| order.hold_id == hold.id) else {
        let released = first_asked(history, Operation::ReleaseHold, hold.id);
        return released.map_or(hold.expires_at, |asked| asked.min(hold.expires_at));
    };
    if let Some(asked) = first_asked(history, Operation::CancelOrder, order.id) {
        return asked;
    }
    if order.state.has_seats() {
        return DateTime::<Utc>::MAX_UTC;
    }
    // It expired by itself, at a time that only its customer's last look bounds from below.
    attempts::about(history, Operation::ReadOrder, order.id)
        .filter(|record| {
            let order = record.acknowledged::<Order>();
            order.is_some_and(|order| order.state.has_seats())
        })
        .map(|record| record.asked_at)
        .max()
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

fn first_asked(history: &[Record], operation: Operation, subject: Uuid) -> Option<DateTime<Utc>> {
    attempts::about(history, operation, subject)
        .map(|record| record.asked_at)
        .min()
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
    fn a_seat_of_two_orders_is_found() {
        let mut sample = Sample::good();
        let (paid, other) = (sample.paid, sample.admitted);
        let seat = sample.audit_order(paid).seat_ids[0];
        sample.audit_order(other).seat_ids.push(seat);
        assert!(!two_orders_of_a_seat(sample.audit()).is_empty());
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_seat_of_two_tickets_is_found() {
        let mut sample = Sample::good();
        let seat = sample.audit().tickets[0].seat_id;
        sample.audit().tickets[1].seat_id = seat;
        assert!(!two_tickets_of_a_seat(sample.audit()).is_empty());
    }

    #[test]
    fn a_sold_seat_that_says_free_is_found() {
        let mut sample = Sample::good();
        for seat in &mut sample.audit().seats {
            seat.order_id = None;
        }
        assert!(!rows_that_disagree(sample.audit()).is_empty());
    }

    #[test]
    fn a_hold_that_outlived_its_expiry_is_found() {
        let mut sample = Sample::good();
        let over = sample.audit().read_at - TimeDelta::seconds(10);
        let seat = &mut sample.audit().seats[3];
        (seat.hold_id, seat.held_until) = (Some(Uuid::now_v7()), Some(over));
        assert!(!stale_holds(sample.audit()).is_empty());
    }

    #[test]
    fn an_order_accepted_after_its_hold_expired_is_found_and_its_repetition_is_not() {
        let mut sample = Sample::good();
        let record = sample.repeat(Operation::PlaceOrder);
        let (asked_at, hold) = (record.asked_at, record.subject.unwrap());
        sample.audit_hold(hold).expires_at = asked_at - TimeDelta::seconds(1);
        assert!(check(&sample.history, &sample.ending).is_empty());
        let last = sample.history.last_mut().unwrap();
        if let client::history::Outcome::Answered { replayed, .. } = &mut last.outcome {
            *replayed = false;
        }
        let audit = sample.audit().clone();
        assert!(!orders_of_holds_that_were_over(&sample.history, &audit).is_empty());
    }

    /// The sample, and another customer's hold of a seat that it has sold, answered a second later.
    fn with_the_same_seat_held(expires: impl Fn(&Record, &Hold) -> DateTime<Utc>) -> Sample {
        let mut sample = Sample::good();
        let record = sample
            .history
            .iter()
            .find(|r| r.operation == Operation::PlaceHold)
            .unwrap();
        let mut stolen = record.clone();
        let mut hold: Hold = record.acknowledged().unwrap();
        hold.id = Uuid::now_v7();
        stolen.actor = Uuid::now_v7();
        stolen.answered_at += TimeDelta::seconds(1);
        hold.expires_at = expires(&stolen, &hold);
        stolen.outcome = client::history::Outcome::Answered {
            status: 201,
            body: serde_json::to_value(hold).unwrap(),
            replayed: false,
        };
        sample.history.push(stolen);
        sample
    }

    #[test]
    fn the_same_seat_given_to_two_customers_at_once_is_found_in_the_history_alone() {
        let mut sample = with_the_same_seat_held(|_, hold| hold.expires_at);
        let audit = sample.audit().clone();
        assert!(!overlapping_possession(&sample.history, &audit).is_empty());
    }

    #[test]
    fn a_hold_that_was_over_before_its_first_answer_takes_no_seat_from_others() {
        let mut sample =
            with_the_same_seat_held(|record, _| record.answered_at - TimeDelta::milliseconds(500));
        let audit = sample.audit().clone();
        assert!(overlapping_possession(&sample.history, &audit).is_empty());
    }
}
