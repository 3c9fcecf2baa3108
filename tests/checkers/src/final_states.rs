//! Promise 5: every order reaches a final state, and every outbox row is delivered or marked dead.
//!
//! Called when the crowd has waited as long as the bounds allow. An order whose payment is dead
//! must say so (`needs_attention`); it counts as a violation here, because no run of the crowd
//! makes one on purpose.

use super::{Ending, Violation};
use client::OrderState;
use client::history::Record;
use messages::audit::{Audit, AuditedOrder};

/// Orders that are still on their way, rows that are neither delivered nor dead, and paid orders
/// without their tickets.
#[must_use]
pub fn check(_: &[Record], ending: &Ending) -> Vec<Violation> {
    let Some(audit) = &ending.audit else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    for order in audit.orders.iter().filter(|order| !order.state.is_final()) {
        violations.push(Violation::new(format!("order {} is not final", order.id)).shown_by(order));
    }
    for order in ending.orders.iter().filter(|order| order.needs_attention) {
        violations
            .push(Violation::new(format!("order {} needs attention", order.id)).shown_by(order));
    }
    for row in &audit.outbox {
        if row.delivered_at.is_none() && row.dead_at.is_none() {
            violations.push(
                Violation::new(format!(
                    "outbox row {} is neither delivered nor dead",
                    row.id
                ))
                .shown_by(row),
            );
        }
    }
    for order in audit
        .orders
        .iter()
        .filter(|order| order.state == OrderState::Paid)
    {
        violations.extend(tickets_missing(order, audit));
    }
    violations.extend(api_and_store_differ(audit, ending));
    violations
}

fn tickets_missing(order: &AuditedOrder, audit: &Audit) -> Option<Violation> {
    let rendered = order.seat_ids.iter().filter(|seat| {
        audit.tickets.iter().any(|ticket| {
            ticket.order_id == order.id
                && ticket.seat_id == **seat
                && ticket.state != "cancelled"
                && ticket.rendered
        })
    });
    let rendered = rendered.count();
    (rendered != order.seat_ids.len()).then(|| {
        let seats = order.seat_ids.len();
        Violation::new(format!(
            "order {} has {rendered} tickets for {seats} seats",
            order.id
        ))
        .shown_by(order)
    })
}

/// What a customer is shown must be what is stored, once nothing moves any more.
fn api_and_store_differ(audit: &Audit, ending: &Ending) -> Vec<Violation> {
    audit
        .orders
        .iter()
        .filter_map(|stored| Some((stored, ending.order(stored.id)?)))
        .filter(|(stored, shown)| stored.state.is_final() && stored.state != shown.state)
        .map(|(stored, shown)| {
            Violation::new(format!("order {} is shown in another state", stored.id))
                .shown_by(stored)
                .shown_by(shown)
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
    fn an_order_that_stays_pending_is_found() {
        let mut sample = Sample::good();
        sample.audit().orders[0].state = OrderState::Pending;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_row_that_was_forgotten_is_found_and_a_dead_one_is_not_forgotten() {
        let mut sample = Sample::good();
        sample.audit().outbox[0].delivered_at = None;
        assert!(!check(&sample.history, &sample.ending).is_empty());
        sample.audit().outbox[0].dead_at = Some(chrono::Utc::now());
        assert!(check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn a_paid_order_without_a_rendered_ticket_is_found() {
        let mut sample = Sample::good();
        sample.audit().tickets[0].rendered = false;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }

    #[test]
    fn an_order_that_needs_attention_is_found() {
        let mut sample = Sample::good();
        sample.ending.orders[0].needs_attention = true;
        assert!(!check(&sample.history, &sample.ending).is_empty());
    }
}
