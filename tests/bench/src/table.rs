//! The table that `make bench` prints, with what the numbers were measured on.

use std::fmt;

use crate::processors::Processors;

/// One measured line.
#[derive(Debug)]
pub struct Row {
    what: String,
    measured: String,
    against: String,
    bound: String,
    held: bool,
}

/// Throughputs of one run: ours, and that of the obvious alternative.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Ours, a second.
    pub ours: f64,
    /// The alternative's, a second.
    pub theirs: f64,
    /// Who had the processors while ours was measured.
    pub processors: Processors,
}

/// A size or a time, with what there is to say about it.
#[derive(Debug)]
pub struct Measured {
    /// In the unit of its row.
    pub value: f64,
    /// Goes into the table.
    pub note: String,
}

impl Row {
    /// A throughput against that of `alternative`; `least` is the smallest good ratio.
    #[must_use]
    pub fn ratio(what: &str, alternative: &str, least: f64, rates: anyhow::Result<Rates>) -> Self {
        let bound = format!("ratio ≥ {least}");
        match rates {
            Ok(Rates {
                ours,
                theirs,
                processors,
            }) => {
                let ratio = ours / theirs;
                Self {
                    what: what.to_owned(),
                    measured: format!("{ours:.0}/s"),
                    against: format!(
                        "{alternative}: {theirs:.0}/s, ratio {ratio:.2}. Processors: {processors}"
                    ),
                    bound,
                    held: ratio >= least,
                }
            }
            Err(error) => Self::not_measured(what, bound, &error),
        }
    }

    /// A size or a time against the most that is good.
    #[must_use]
    pub fn at_most(what: &str, most: f64, unit: &str, measured: anyhow::Result<Measured>) -> Self {
        let bound = format!("≤ {most} {unit}");
        match measured {
            Ok(Measured { value, note }) => Self {
                what: what.to_owned(),
                measured: format!("{value:.2} {unit}"),
                against: note,
                bound,
                held: value <= most,
            },
            Err(error) => Self::not_measured(what, bound, &error),
        }
    }

    /// A part that failed keeps no bound, and says why in one line.
    fn not_measured(what: &str, bound: String, error: &anyhow::Error) -> Self {
        let why = format!("{error:#}").replace('|', "\\|");
        let why: Vec<_> = why.split_whitespace().collect();
        Self {
            what: what.to_owned(),
            measured: "not measured".to_owned(),
            against: why.join(" "),
            bound,
            held: false,
        }
    }
}

/// All lines.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Whether every bound was kept.
    #[must_use]
    pub fn held(&self) -> bool {
        self.0.iter().all(|row| row.held)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`make bench` on {}:", machine())?;
        writeln!(f)?;
        writeln!(f, "| what | measured | against | bound | held |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for row in &self.0 {
            let held = if row.held { "yes" } else { "**no**" };
            writeln!(
                f,
                "| {} | {} | {} | {} | {held} |",
                row.what, row.measured, row.against, row.bound
            )?;
        }
        Ok(())
    }
}

/// Cores and memory of the machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok());
    let memory = kib.map_or("unknown".to_owned(), |kib| {
        format!("{:.0} GB", kib * 1024.0 / 1e9)
    });
    format!("{cores} cores with {memory} of memory")
}

/// The middle of several measurements, which one disturbed among them does not move.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_failed_is_a_line_of_the_table_and_keeps_no_bound() {
        let failed = Err(anyhow::anyhow!("no\nanswer | at all").context("the queue"));
        let good = Ok(Measured {
            value: 3.0,
            note: "largest".to_owned(),
        });
        let table = Table(vec![
            Row::at_most("memory", 25.0, "MB", good),
            Row::ratio("messages", "a loop", 0.9, failed),
        ]);
        assert!(!table.held());
        let printed = table.to_string();
        assert!(printed.contains("| memory | 3.00 MB | largest | ≤ 25 MB | yes |\n"));
        assert!(printed.ends_with(
            "| messages | not measured | the queue: no answer \\| at all | ratio ≥ 0.9 | **no** |\n"
        ));
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![3.0, 1.0, 2.0, 9.0]) - 2.5).abs() < f64::EPSILON);
    }
}
