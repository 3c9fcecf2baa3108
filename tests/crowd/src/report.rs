//! What a run came to: the table for people, and whether every promise held.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Summary;
use checkers::{Ending, Promise, Verdict};
use client::OrderState;
use client::history::History;

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
    /// Whether every promise that was to be checked was checked and held, and nothing was left out
    /// of the history.
    #[must_use]
    pub fn held(&self) -> bool {
        self.dropped == 0 && self.verdicts.iter().all(|(_, verdict)| verdict.is_good())
    }

    /// The exit code of a program that made the run: 1 where something did not hold.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.held())
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
        text.push_str(
            "\nRefusals such as sold-out, seats-taken and hold-expired are meant to be: more want \
             seats than there are, and some come too late.\n",
        );
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
                verdict.words()
            );
            match verdict {
                Verdict::NotChecked(why) => {
                    let _ = write!(text, " ({why})");
                }
                Verdict::NotAsked(needs) => {
                    let _ = write!(text, " ({needs})");
                }
                Verdict::Held | Verdict::Broken(_) => {}
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
        let _ = writeln!(text, "\n{}", self.verdict());
        text
    }

    /// The run in one line.
    fn verdict(&self) -> String {
        let numbers = |is: fn(&Verdict) -> bool| {
            let those = self.verdicts.iter().filter(|(_, verdict)| is(verdict));
            let numbers: Vec<_> = those.map(|(one, _)| one.number.to_string()).collect();
            numbers.join(", ")
        };
        let broken = numbers(|verdict| matches!(verdict, Verdict::Broken(_)));
        let unchecked = numbers(|verdict| matches!(verdict, Verdict::NotChecked(_)));
        let unasked = numbers(|verdict| matches!(verdict, Verdict::NotAsked(_)));
        let mut parts = Vec::new();
        if !broken.is_empty() {
            parts.push(format!("BROKEN: {broken}"));
        }
        if !unchecked.is_empty() {
            parts.push(format!("NOT CHECKED: {unchecked}"));
        }
        if self.dropped > 0 {
            parts.push("NOT PROVEN: the history is incomplete".to_owned());
        }
        if parts.is_empty() {
            parts.push("every promise that was checked held".to_owned());
        }
        if !unasked.is_empty() {
            parts.push(format!("not asked for: {unasked}"));
        }
        format!("Verdict: {}.", parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkers::sample::Sample;
    use checkers::verdicts;
    use client::Operation;

    /// What a run with this history and ending would report.
    fn report(sample: Sample) -> Report {
        let history = History::new();
        for record in sample.history {
            history.write(record);
        }
        let verdicts = history.look(|records| verdicts(records, &sample.ending));
        Report {
            event_id: Uuid::now_v7(),
            seed: 1,
            came_for: Duration::from_secs(30),
            settled_in: Duration::from_secs(2),
            summary: Arc::default(),
            orders: BTreeMap::from([(OrderState::Paid, 2), (OrderState::Cancelled, 1)]),
            failures: Vec::new(),
            verdicts,
            dropped: 0,
            history: Arc::new(history),
            ending: sample.ending,
        }
    }

    #[test]
    fn a_good_run_says_so_promise_by_promise_and_ends_with_0() {
        let report = report(Sample::good());
        let text = report.text();
        assert!(report.held() && report.exit_code() == 0, "{text}");
        assert_eq!(text.matches(" held\n").count(), 7, "{text}");
        assert!(
            text.ends_with("\nVerdict: every promise that was checked held.\n"),
            "{text}"
        );
        assert!(text.contains("sold-out, seats-taken and hold-expired are meant to be"));
        assert!(
            text.contains("paid 2, cancelled 1; seats sold: 2"),
            "{text}"
        );
    }

    #[test]
    fn a_broken_promise_is_shown_with_the_offending_records_and_ends_with_1() {
        let mut sample = Sample::good();
        let (paid, other) = (sample.paid, sample.admitted);
        let seat = sample.audit_order(paid).seat_ids[0];
        sample.audit_order(other).seat_ids.push(seat);
        let report = report(sample);
        let text = report.text();
        assert!(!report.held() && report.exit_code() == 1, "{text}");
        let (_, shown) = text.split_once("2. no seat is sold twice").unwrap();
        let (shown, _) = shown.split_once("\n3. ").unwrap();
        assert!(shown.trim_start().starts_with("broken\n"), "{shown}");
        assert!(shown.contains("seat 1 has 2 owners"), "{shown}");
        let last = text.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("Verdict: BROKEN: ") && last.contains('2'),
            "{last}"
        );
        for order in [paid, other] {
            assert!(shown.contains(&format!(r#""id":"{order}""#)), "{shown}");
        }
    }

    #[test]
    fn a_broken_promise_of_the_history_alone_is_shown_too() {
        let mut sample = Sample::good();
        let again = sample.repeat(Operation::PlaceOrder);
        again.outcome = client::history::Outcome::Answered {
            status: 202,
            body: serde_json::json!({"id": Uuid::now_v7()}),
            replayed: true,
        };
        let report = report(sample);
        assert_eq!(report.exit_code(), 1);
        assert!(report.text().contains("was answered in 2 ways"));
    }

    #[test]
    fn a_witness_that_was_not_named_is_no_failure_and_one_that_did_not_answer_is() {
        let mut sample = Sample::good();
        sample.ending.books = None;
        let unnamed = report(sample);
        assert!(unnamed.held());
        let text = unnamed.text();
        assert_eq!(
            text.matches("not asked for (needs --bank").count(),
            3,
            "{text}"
        );
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains("; not asked for: "), "{last}");

        let mut sample = Sample::good();
        sample.ending.books = None;
        sample.ending.bank_unread = Some("the bank is silent".to_owned());
        let silent = report(sample);
        let text = silent.text();
        assert_eq!(silent.exit_code(), 1, "{text}");
        assert_eq!(
            text.matches("not checked (the bank is silent)").count(),
            3,
            "{text}"
        );

        let mut sample = Sample::good();
        sample.ending.audit = None;
        sample.ending.booking_unread = Some("booking is silent".to_owned());
        let text = report(sample).text();
        assert_eq!(
            text.matches("not checked (booking is silent)").count(),
            7,
            "{text}"
        );
    }

    #[test]
    fn an_incomplete_history_is_a_failure() {
        let mut report = report(Sample::good());
        report.dropped = 3;
        assert_eq!(report.exit_code(), 1);
        let text = report.text();
        assert!(text.contains("the history is incomplete: 3 did not fit"));
        assert!(text.ends_with("Verdict: NOT PROVEN: the history is incomplete.\n"));
    }
}
