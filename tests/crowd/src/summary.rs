//! Latency percentiles and outcomes, operation by operation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use hdrhistogram::Histogram;

use client::Operation;
use client::history::Record;

/// The longest latency that is told apart, in microseconds: more than a client waits.
const LONGEST: u64 = 60_000_000;

/// What one operation came to.
struct Line {
    /// Microseconds of the attempts that were acknowledged.
    latency: Histogram<u64>,
    outcomes: BTreeMap<String, u64>,
}

impl Line {
    fn new() -> Option<Self> {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).ok()?;
        Some(Self {
            latency,
            outcomes: BTreeMap::new(),
        })
    }
}

/// The summary so far; customers write to it while they run.
#[derive(Default)]
pub struct Summary {
    lines: Mutex<BTreeMap<Operation, Line>>,
}

impl std::fmt::Debug for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Summary")
    }
}

impl Summary {
    /// Counts one attempt.
    pub fn count(&self, record: &Record) {
        let mut lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !lines.contains_key(&record.operation)
            && let Some(line) = Line::new()
        {
            lines.insert(record.operation, line);
        }
        let Some(line) = lines.get_mut(&record.operation) else {
            return;
        };
        *line.outcomes.entry(record.outcome_name()).or_default() += 1;
        if record.is_acknowledged() {
            let micros = u64::try_from(record.elapsed().as_micros()).unwrap_or(LONGEST);
            line.latency.saturating_record(micros.max(1));
        }
    }

    /// How many attempts ended in an outcome that begins with `prefix`, such as `500`.
    #[must_use]
    pub fn outcomes(&self, prefix: &str) -> u64 {
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let outcomes = lines.values().flat_map(|line| &line.outcomes);
        outcomes
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, count)| count)
            .sum()
    }

    /// The table that people read.
    #[must_use]
    pub fn table(&self) -> String {
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = format!(
            "{:<18} {:>7} {:>8} {:>8} {:>8} {:>8}  outcomes\n",
            "operation", "count", "p50 ms", "p90 ms", "p99 ms", "max ms"
        );
        for (operation, line) in lines.iter() {
            let count: u64 = line.outcomes.values().sum();
            let at = |quantile: f64| millis(line.latency.value_at_quantile(quantile));
            let outcomes: Vec<_> = line
                .outcomes
                .iter()
                .map(|(name, count)| format!("{name}: {count}"))
                .collect();
            let _ = writeln!(
                text,
                "{:<18} {count:>7} {:>8} {:>8} {:>8} {:>8}  {}",
                operation.as_str(),
                at(0.5),
                at(0.9),
                at(0.99),
                millis(line.latency.max()),
                outcomes.join(", "),
            );
        }
        text
    }
}

fn millis(micros: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // a minute in microseconds is far below 2^52
    let millis = micros as f64 / 1000.0;
    format!("{millis:.1}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;
    use uuid::Uuid;

    use super::*;
    use client::{Answer, Ask};

    #[test]
    fn percentiles_are_of_acknowledged_attempts_and_outcomes_of_all() {
        let summary = Summary::default();
        let ask = Ask::get(Operation::ReadOrder, "/x");
        for (status, millis) in [(200, 10), (200, 10), (500, 4000)] {
            let answer = Ok(Answer {
                status,
                ..Answer::default()
            });
            let elapsed = Duration::from_millis(millis);
            summary.count(&Record::new(
                Uuid::nil(),
                &ask,
                0,
                Utc::now(),
                elapsed,
                &answer,
            ));
        }
        let table = summary.table();
        assert!(table.contains("10.0") && !table.contains("4000"), "{table}");
        assert_eq!(summary.outcomes("500"), 1);
    }
}
