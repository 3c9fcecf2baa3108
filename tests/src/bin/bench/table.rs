//! The table that `make bench` prints.

use std::fmt;

/// One measured line.
#[derive(Debug)]
pub struct Row {
    what: String,
    measured: String,
    against: String,
    bound: String,
    /// Whether the bound was kept.
    pub held: bool,
}

impl Row {
    /// A throughput against that of the obvious alternative; `least` is the smallest good ratio.
    #[must_use]
    pub fn ratio(what: &str, ours: f64, alternative: &str, theirs: f64, least: f64) -> Self {
        let ratio = ours / theirs;
        Self {
            what: what.to_owned(),
            measured: format!("{ours:.0}/s"),
            against: format!("{alternative}: {theirs:.0}/s, ratio {ratio:.2}"),
            bound: format!("ratio ≥ {least}"),
            held: ratio >= least,
        }
    }

    /// A size or a time against its bound.
    #[must_use]
    pub fn at_most(what: &str, measured: f64, unit: &str, bound: f64, note: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: format!("{measured:.2} {unit}"),
            against: note.to_owned(),
            bound: format!("≤ {bound} {unit}"),
            held: measured <= bound,
        }
    }
}

/// All lines.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
