//! The tables that people read: fault by fault, row by row over all runs, and promise by promise.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::finding::SESSIONS;
use super::{Checked, Finding, ROWS};
use checkers::PROMISES;

/// One fault as it was found, with what was wrong.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.is_good() { "held" } else { "NOT HELD" };
        writeln!(
            out,
            "{:>3}. {} on {} for {:.1} s: {held}",
            self.number,
            self.fault,
            self.struck.join(", "),
            self.lasted,
        )?;
        writeln!(out, "     customers saw {}", self.seen.says())?;
        for check in self.checks.iter().filter(|one| is_told(one)) {
            let kept = if check.kept() { "" } else { "  TOO LATE" };
            writeln!(
                out,
                "     {:<45} {:>8} (bound {:.0} s){kept}",
                check.says,
                took(check),
                check.bound
            )?;
        }
        match self.healed {
            Some(healed) => writeln!(
                out,
                "     every container was well {healed:.1} s after it was undone"
            )?,
            None => writeln!(out, "     not every container was well again")?,
        }
        if self.promises_held() {
            writeln!(out, "     promises: all {} held", self.promises.len())?;
        }
        for wrong in &self.wrongs {
            writeln!(out, "     {wrong}")?;
        }
        Ok(())
    }
}

/// How the part came back is told only where that disturbed something for longer than its bound.
fn is_told(check: &Checked) -> bool {
    !check.comes_back || !check.kept()
}

fn took(check: &Checked) -> String {
    check
        .seconds
        .map_or("never".to_owned(), |took| format!("{took:.2} s"))
}

/// Fault by fault, as Markdown: what customers saw, when it was well again, and whether all held.
#[must_use]
pub fn faults(findings: &[Finding]) -> String {
    let mut text = String::from(
        "| number | fault | on | customers saw | well again | promises |\n\
         |---|---|---|---|---|---|\n",
    );
    for finding in findings {
        let checks = finding.checks.iter().filter(|one| is_told(one));
        let checks = checks.map(|check| {
            let late = if check.kept() { "" } else { " **too late**" };
            format!("{} {}{late}", check.says, took(check))
        });
        let promises = if finding.promises_held() {
            "held".to_owned()
        } else {
            format!("**not held**: {}", finding.wrongs.join("; "))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {promises} |",
            finding.number,
            finding.fault,
            finding.struck.join(", "),
            finding.seen.says(),
            checks.collect::<Vec<_>>().join("; "),
        );
    }
    text
}

/// Promise by promise over all of them: in how many it was checked, and in how many it held.
#[must_use]
pub fn promises(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut line = |number: &str, says: &str, held: usize, asked: usize| {
        let word = match asked {
            0 => "not checked",
            asked if asked == held => "held",
            _ => "NOT HELD",
        };
        let _ = writeln!(text, "{number:>2} {says:<46} {word} in {held} of {asked}");
    };
    let count = |key: &str| {
        let words = findings.iter().filter_map(|one| one.promises.get(key));
        let words: Vec<_> = words.collect();
        let held = words.iter().filter(|word| *word == &"held").count();
        (held, words.len())
    };
    for promise in PROMISES {
        let number = promise.number.to_string();
        let (held, asked) = count(&number);
        line(&format!("{number}."), promise.says, held, asked);
    }
    let kept = findings.iter().filter(|one| one.bounds_kept()).count();
    line(
        "8.",
        "all is well again within its bound",
        kept,
        findings.len(),
    );
    let (held, asked) = count(SESSIONS);
    line("9.", "no session is lost, and none comes back", held, asked);
    text
}

/// What one thing that must be well came to over all runs.
#[derive(Default)]
struct Line {
    seconds: Vec<f64>,
    never: usize,
    bounds: Vec<f64>,
    kept: bool,
}

/// Row by row over all runs, as Markdown: how often, median, maximum, bound, promises.
#[must_use]
pub fn rows(findings: &[Finding]) -> String {
    let mut text = String::from(
        "| what is lost | by | well again | runs | median | maximum | bound | kept | promises |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let of_row: Vec<_> = findings.iter().filter(|one| one.row == row.name).collect();
        if of_row.is_empty() {
            continue;
        }
        let held = of_row.iter().filter(|one| one.promises_held()).count();
        let promises = match of_row.len() - held {
            0 => "held".to_owned(),
            broken => format!("**{broken} of {} not held**", of_row.len()),
        };
        for (says, line) in lines(&of_row) {
            let _ = writeln!(
                text,
                "| {} | {} | {says} | {} | {} | {} | {} | {} | {promises} |",
                row.says,
                kinds(&of_row),
                line.seconds.len() + line.never,
                seconds(median(&line.seconds)),
                longest(&line),
                range(&line.bounds),
                if line.kept { "yes" } else { "**no**" },
            );
        }
    }
    let _ = writeln!(text, "\n{}", in_a_word(findings));
    let mut trees: Vec<_> = findings.iter().map(|one| one.tree.as_str()).collect();
    trees.retain(|tree| !tree.is_empty());
    trees.dedup();
    if !trees.is_empty() {
        let _ = writeln!(text, "\nMeasured on {}.", trees.join(", "));
    }
    text
}

/// How often each kind of fault was made.
fn kinds(findings: &[&Finding]) -> String {
    let mut often: BTreeMap<String, u32> = BTreeMap::new();
    for finding in findings {
        let both = finding.fault.split('+');
        let both = both.map(|one| one.split_once(':').map_or(one, |(kind, _)| kind));
        let kind = both.collect::<Vec<_>>().join(" and ");
        *often.entry(kind).or_default() += 1;
    }
    let often = often.iter().map(|(kind, often)| format!("{kind} {often}"));
    often.collect::<Vec<_>>().join(", ")
}

/// In the order in which the row's checks stand.
fn lines(findings: &[&Finding]) -> Vec<(String, Line)> {
    let mut order = Vec::new();
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let checks = findings.iter().flat_map(|finding| &finding.checks);
    for check in checks.filter(|check| is_told(check)) {
        let line = lines.entry(&check.says).or_insert_with(|| {
            order.push(check.says.clone());
            Line {
                kept: true,
                ..Line::default()
            }
        });
        match check.seconds {
            Some(took) => line.seconds.push(took),
            None => line.never += 1,
        }
        line.bounds.push(check.bound);
        line.kept &= check.kept();
    }
    let take = |says: String| {
        let line = lines.remove(says.as_str()).unwrap_or_default();
        (says, line)
    };
    order.into_iter().map(take).collect()
}

fn longest(line: &Line) -> String {
    if line.never > 0 {
        return format!("{} × never", line.never);
    }
    seconds(line.seconds.iter().copied().max_by(f64::total_cmp))
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.2} s"))
}

/// One bound, or the smallest and the largest where it depends on the backlog.
fn range(bounds: &[f64]) -> String {
    let least = bounds
        .iter()
        .copied()
        .min_by(f64::total_cmp)
        .unwrap_or_default();
    let most = bounds
        .iter()
        .copied()
        .max_by(f64::total_cmp)
        .unwrap_or_default();
    if most - least < 0.5 {
        format!("{least:.0} s")
    } else {
        format!("{least:.0} to {most:.0} s")
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        let below = values.get(middle.checked_sub(1)?)?;
        Some(f64::midpoint(*below, values[middle]))
    } else {
        values.get(middle).copied()
    }
}

/// How many faults there were, and how many of them the system survived as promised.
#[must_use]
pub fn in_a_word(findings: &[Finding]) -> String {
    let (good, all) = (
        findings.iter().filter(|finding| finding.is_good()).count(),
        findings.len(),
    );
    let requests: u64 = findings.iter().map(|finding| finding.seen.requests).sum();
    let broken = findings
        .iter()
        .filter(|finding| !finding.promises_held())
        .count();
    let late = findings
        .iter()
        .filter(|finding| !finding.bounds_kept())
        .count();
    let mut text =
        format!("{all} faults among {requests} requests: {good} were survived as promised");
    if broken > 0 {
        let _ = write!(text, "; promises did not hold in {broken}");
    }
    if late > 0 {
        let _ = write!(text, "; a bound was not kept in {late}");
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::super::finding::sample::finding;
    use super::*;

    #[test]
    fn a_row_has_count_median_maximum_bound_and_promises() {
        let findings = [
            finding(0, "bank", Some(2.0)),
            finding(1, "bank", Some(4.0)),
            finding(2, "bank", Some(9.0)),
        ];
        let table = rows(&findings);
        let line = "| kill 3 | an order, paid | 3 | 4.00 s | 9.00 s | 10 s | yes | held |\n";
        assert!(table.contains(line), "{table}");
        assert!(table.contains("Measured on abc."), "{table}");
        assert!(
            table.contains("3 faults among 0 requests: 3 were survived"),
            "{table}"
        );
    }

    #[test]
    fn what_did_not_become_well_and_what_was_broken_is_said() {
        let mut broken = finding(1, "bank", None);
        broken
            .wrongs
            .push("2. no seat is sold twice: seat 1".to_owned());
        let table = rows(&[finding(0, "bank", Some(2.0)), broken.clone()]);
        assert!(
            table.contains("| 2 | 2.00 s | 1 × never | 10 s | **no** |"),
            "{table}"
        );
        assert!(table.contains("**1 of 2 not held**"), "{table}");
        let told = broken.to_string();
        assert!(
            told.contains("NOT HELD") && told.contains("seat 1"),
            "{told}"
        );
        let faults = faults(&[finding(0, "bank", Some(2.0)), broken.clone()]);
        assert!(
            faults.contains("an order, paid 2.00 s | held |"),
            "{faults}"
        );
        assert!(
            faults.contains("never **too late** | **not held**"),
            "{faults}"
        );
        let promises = promises(&[finding(0, "bank", Some(2.0)), broken]);
        let acknowledged = "what was acknowledged is there afterwards      held in 2 of 2";
        assert!(promises.contains(acknowledged), "{promises}");
        assert!(promises.contains("NOT HELD in 1 of 2"), "{promises}");
        let numbers: Vec<_> = promises
            .lines()
            .filter_map(|line| line.trim_start().split('.').next())
            .collect();
        let counted: Vec<_> = (1..=9).map(|number| number.to_string()).collect();
        assert_eq!(numbers, counted, "{promises}");
    }
}
