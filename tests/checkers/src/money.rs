//! Promise 3: money is conserved.
//!
//! The ledger sums to zero and says the same as `bank`'s own books, as a whole, for each order and
//! for each payout. No customer is charged twice, and an order without seats is refunded.

use messages::audit::{Audit, AuditedOrder, AuditedSettlement};
use messages::bank::{Balance, Kind, Movement, Outcome};
use uuid::Uuid;

use super::{Ending, Violation};
use client::OrderState;
use client::history::Record;

/// What `bank` has for us: charged, less refunded, less paid out.
#[must_use]
pub fn net(balance: &Balance) -> i64 {
    balance.charged_minor - balance.refunded_minor - balance.paid_out_minor
}

/// Where the ledger, the orders and the bank's books do not agree.
#[must_use]
pub fn check(_: &[Record], ending: &Ending) -> Vec<Violation> {
    let (Some(audit), Some(books)) = (&ending.audit, &ending.books) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    if let (Some(ledger), Some(balance)) = (&ending.ledger, &ending.balance) {
        if ledger.sum_minor != 0 {
            violations.push(Violation::new("the ledger does not sum to zero").shown_by(ledger));
        }
        if ledger.bank_minor != net(balance) {
            violations.push(
                Violation::new("the ledger and the bank's books differ")
                    .shown_by(ledger)
                    .shown_by(balance),
            );
        }
    }
    for line in audit
        .ledger
        .iter()
        .filter(|line| line.bank_minor + line.organiser_minor != 0)
    {
        violations.push(Violation::new("a transaction does not balance").shown_by(line));
    }
    for order in &audit.orders {
        violations.extend(order_paid_once(order, audit, books));
    }
    for settlement in &audit.settlements {
        violations.extend(settlement_paid_once(settlement, audit, books));
    }
    violations.extend(movements_of_nobody(audit, books));
    violations
}

fn succeeded(books: &[Movement], kind: Kind, reference: Uuid) -> Vec<&Movement> {
    books
        .iter()
        .filter(|movement| {
            movement.kind == kind
                && movement.reference == reference
                && movement.outcome == Outcome::Succeeded
        })
        .collect()
}

fn total(movements: &[&Movement]) -> i64 {
    movements.iter().map(|movement| movement.amount_minor).sum()
}

fn order_paid_once(order: &AuditedOrder, audit: &Audit, books: &[Movement]) -> Vec<Violation> {
    let charges = succeeded(books, Kind::Charge, order.id);
    let refunds = succeeded(books, Kind::Refund, order.id);
    let mut violations = Vec::new();
    let mut broken = |what: &str| {
        let violation = Violation::new(format!("order {}: {what}", order.id)).shown_by(order);
        violations.push(violation.shown_by_all(charges.iter().chain(&refunds)));
    };
    if charges.len() > 1 {
        broken("charged more than once");
    }
    if refunds.len() > 1 {
        broken("refunded more than once");
    }
    let (charged, refunded) = (total(&charges), total(&refunds));
    match order.state {
        OrderState::Paid if charged - refunded != order.total_minor => {
            broken("paid, and the bank does not have its price");
        }
        OrderState::Cancelled | OrderState::Expired if charged != refunded => {
            broken("over, and the bank kept money of it");
        }
        _ => {}
    }
    let of_order = |kind: &str| -> i64 {
        let lines = audit.ledger.iter();
        lines
            .filter(|line| line.order_id == Some(order.id) && line.kind == kind)
            .map(|line| line.bank_minor)
            .sum()
    };
    if of_order("charge") != charged || of_order("refund") != -refunded {
        broken("the ledger and the bank differ");
    }
    violations
}

fn settlement_paid_once(
    settlement: &AuditedSettlement,
    audit: &Audit,
    books: &[Movement],
) -> Option<Violation> {
    let payouts = succeeded(books, Kind::Payout, settlement.id);
    let paid = total(&payouts);
    let booked: i64 = audit
        .ledger
        .iter()
        .filter(|line| line.settlement_id == Some(settlement.id))
        .map(|line| -line.bank_minor)
        .sum();
    let wanted = if settlement.state == "paid" {
        settlement.amount_minor
    } else {
        0
    };
    // A payout that is due may already stand in the bank's books, once.
    let under_way = settlement.state == "due" && paid == settlement.amount_minor;
    let fine = payouts.len() <= 1 && booked == wanted && (paid == wanted || under_way);
    (!fine).then(|| {
        let what = format!(
            "settlement {}: {} of {} paid out in {} payouts, {booked} in the ledger",
            settlement.id,
            paid,
            settlement.amount_minor,
            payouts.len()
        );
        Violation::new(what)
            .shown_by(settlement)
            .shown_by_all(payouts)
    })
}

/// Movements that the ledger knows by their cause but that stand under no order or payout.
fn movements_of_nobody(audit: &Audit, books: &[Movement]) -> Vec<Violation> {
    audit
        .ledger
        .iter()
        .filter(|line| matches!(line.kind.as_str(), "charge" | "refund" | "payout"))
        .filter(|line| {
            let reference = line.order_id.or(line.settlement_id);
            !books.iter().any(|movement| {
                Some(movement.reference) == reference && movement.outcome == Outcome::Succeeded
            })
        })
        .map(|line| Violation::new("the ledger has what the bank never saw").shown_by(line))
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
    fn a_second_charge_is_found() {
        let mut sample = Sample::good();
        let paid = sample.paid;
        let books = sample.ending.books.as_mut().unwrap();
        let mut second = books.iter().find(|m| m.reference == paid).unwrap().clone();
        second.id = Uuid::now_v7();
        books.push(second);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_cancelled_order_without_a_refund_is_found() {
        let mut sample = Sample::good();
        let cancelled = sample.cancelled;
        let books = sample.ending.books.as_mut().unwrap();
        books.retain(|m| !(m.reference == cancelled && m.kind == Kind::Refund));
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_paid_order_that_the_bank_never_charged_is_found() {
        let mut sample = Sample::good();
        let paid = sample.paid;
        sample
            .ending
            .books
            .as_mut()
            .unwrap()
            .retain(|m| m.reference != paid);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_second_payout_is_found() {
        let mut sample = Sample::good();
        let books = sample.ending.books.as_mut().unwrap();
        let mut second = books
            .iter()
            .find(|m| m.kind == Kind::Payout)
            .unwrap()
            .clone();
        second.id = Uuid::now_v7();
        books.push(second);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_ledger_that_leaks_is_found() {
        let mut sample = Sample::good();
        sample.ending.ledger.as_mut().unwrap().sum_minor = 1;
        assert!(!check(&sample.history, &sample.ending).is_empty());
        let mut sample = Sample::good();
        sample.ending.ledger.as_mut().unwrap().bank_minor += 1;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_charge_booked_twice_is_found() {
        let mut sample = Sample::good();
        let line = sample.audit().ledger[0].clone();
        sample.audit().ledger.push(line);
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }
}
