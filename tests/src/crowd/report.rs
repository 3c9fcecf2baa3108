//! What a run came to: the table for people, and whether every promise held.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Summary;
use crate::checkers::{Ending, Promise, Verdict};
use crate::client::OrderState;
use crate::history::History;

/// Most violations of one promise that are printed.
const MOST_SHOWN: usize = 5;

/// Most failures that are printed.
const MOST_FAILURES: usize = 10;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// The event that was sold.
    pub event_id: Uuid,
    /// What choices were drawn from.
    pub seed: u64,
    /// How long customers kept coming.
    pub came_for: Duration,
    /// How long it took afterwards until every order was final.
    pub settled_in: Duration,
    /// Latencies and outcomes.
    pub summary: Arc<Summary>,
    /// The customers' orders by state.
    pub orders: BTreeMap<OrderState, u32>,
    /// Visits that broke off.
    pub failures: Vec<String>,
    /// Promise by promise.
    pub verdicts: Vec<(Promise, Verdict)>,
    /// Records that did not fit into the history.
    pub dropped: u64,
    /// What was asked and answered.
    pub history: Arc<History>,
    /// What is there in the end.
    pub ending: Ending,
}

impl Report {
    /// Whether no promise is broken and nothing was left out of the history.
    #[must_use]
    pub fn held(&self) -> bool {
        self.dropped == 0 && !self.verdicts.iter().any(|(_, verdict)| verdict.is_broken())
    }

    /// How many orders ended in this state.
    #[must_use]
    pub fn orders_in(&self, state: OrderState) -> u32 {
        self.orders.get(&state).copied().unwrap_or_default()
    }

    /// Seats that belong to paid orders.
    #[must_use]
    pub fn seats_sold(&self) -> usize {
        let paid = self
            .ending
            .orders
            .iter()
            .filter(|order| order.state == OrderState::Paid);
        paid.map(|order| order.seats.len()).sum()
    }

    /// The report as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.summary.table();
        let orders: Vec<_> = self
            .orders
            .iter()
            .map(|(state, count)| format!("{} {count}", format!("{state:?}").to_lowercase()))
            .collect();
        let _ = writeln!(
            text,
            "\nevent {}, seed {}: customers came for {:.1} s, all was settled {:.1} s later",
            self.event_id,
            self.seed,
            self.came_for.as_secs_f64(),
            self.settled_in.as_secs_f64(),
        );
        let orders = if orders.is_empty() {
            "none".to_owned()
        } else {
            orders.join(", ")
        };
        let _ = writeln!(text, "orders: {orders}; seats sold: {}", self.seats_sold());
        if !self.failures.is_empty() {
            let _ = writeln!(text, "visits broken off: {}", self.failures.len());
            for failure in self.failures.iter().take(MOST_FAILURES) {
                let _ = writeln!(text, "  {failure}");
            }
        }
        if self.dropped > 0 {
            let _ = writeln!(
                text,
                "the history is incomplete: {} did not fit",
                self.dropped
            );
        }
        text.push('\n');
        for (promise, verdict) in &self.verdicts {
            let _ = write!(
                text,
                "{}. {:<42} {}",
                promise.number,
                promise.says,
                verdict.word()
            );
            if let Verdict::NotChecked(why) = verdict {
                let _ = write!(text, " ({why})");
            }
            text.push('\n');
            if let Verdict::Broken(violations) = verdict {
                for violation in violations.iter().take(MOST_SHOWN) {
                    let _ = writeln!(text, "   {}", violation.what);
                    for record in &violation.offending {
                        let _ = writeln!(text, "     {record}");
                    }
                }
                if violations.len() > MOST_SHOWN {
                    let _ = writeln!(text, "   and {} more", violations.len() - MOST_SHOWN);
                }
            }
        }
        text
    }
}
