//! What was found so far, a line of JSON each, in a file that many runs write to.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;

use super::Finding;

/// Everything that was found so far; nothing where the file is not there yet.
///
/// # Errors
/// It cannot be read, or a line is no finding.
pub fn read(file: &Path) -> anyhow::Result<Vec<Finding>> {
    let name = || file.display().to_string();
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.with_context(name)?,
    };
    let mut findings = Vec::new();
    for (number, line) in BufReader::new(opened).lines().enumerate() {
        let line = line.with_context(name)?;
        let finding = serde_json::from_str(&line)
            .with_context(|| format!("line {} of {}", number + 1, name()))?;
        findings.push(finding);
    }
    Ok(findings)
}

/// Adds a line, in one write, so that a run which is broken off leaves no half of one.
///
/// # Errors
/// It cannot be written.
pub fn add(file: &Path, finding: &Finding) -> anyhow::Result<()> {
    let name = || file.display().to_string();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(name)?;
    }
    let mut line = serde_json::to_vec(finding)?;
    line.push(b'\n');
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(name)?;
    out.write_all(&line).with_context(name)
}

/// The number that a run of this seed among these faults goes on with.
#[must_use]
pub fn next(findings: &[Finding], seed: u64, among: &str) -> u32 {
    let same = findings
        .iter()
        .filter(|finding| finding.seed == seed && finding.among == among);
    same.map(|finding| finding.number + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::finding::sample::finding;
    use super::*;

    #[test]
    fn what_is_added_is_read_again_and_a_run_goes_on_with_the_next_number() {
        let folder = std::env::temp_dir().join(format!("chaos-{}", crowd::run_id()));
        let file = folder.join("state.jsonl");
        assert!(read(&file).unwrap().is_empty());
        let mut all = vec![
            finding(0, "bank", Some(2.0)),
            finding(1, "queue", None),
            finding(0, "bank", Some(3.0)),
        ];
        all[2].among = "bank".to_owned();
        for finding in &all {
            add(&file, finding).unwrap();
        }
        let again = read(&file).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(again, all);
        assert_eq!(next(&again, 7, ""), 2);
        assert_eq!(next(&again, 7, "bank"), 1);
        assert_eq!(next(&again, 8, ""), 0);
    }
}
