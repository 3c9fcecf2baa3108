//! The program of `make chaos`, one round of rows that no other scenario plays: it makes the faults
//! that it is told to make, every promise holds, and its report, its state and its exit codes say so.
//!
//! The program is strict about bounds, as `make bounds` needs it. Here a bound that was missed is
//! only printed: the machine may have been busy.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use chaos::Finding;
use serde_json::Value;
use tokio::process::Command;

use crate::deadline::{TRIES, generous};
use crate::stack::Stack;

/// Parts that are slow, frozen or cut off.
const FAULTS: [&str; 3] = ["cut:redis-primary", "pause:haproxy", "slow:booking"];

/// How long a run may take.
const BOUND: Duration = generous(Duration::from_secs(150));

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn parts_that_hang_are_cut_off_or_are_slow_break_no_promise() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let folder = std::env::temp_dir().join(format!("chaos-{}", crowd::run_id()));
    std::fs::create_dir_all(&folder)?;
    let (code, said) = run(&folder).await?;
    let report = std::fs::read_to_string(folder.join("report.json"))?;
    let report: Value = serde_json::from_str(&report)?;
    let reported: Vec<Finding> = serde_json::from_value(report["findings"].clone())?;
    let is_good = reported.iter().all(Finding::is_good);
    ensure!(code == verdict(is_good), "ended with {code:?}: {said}");
    ensure!(report["seed"] == 5 && report["held"] == is_good, "{report}");
    let among = format!("{} faults among", reported.len());
    ensure!(said.contains(&among), "{said}");
    // What people read has no Markdown; the tables stand in their file.
    ensure!(!said.contains("|---|"), "{said}");
    let tables = std::fs::read_to_string(folder.join("tables.md"))?;
    ensure!(!reported.is_empty(), "{report}");
    for finding in &reported {
        let row = format!("| {} |", finding.fault);
        ensure!(tables.contains(&row), "no {row} in {tables}");
    }

    // The state has the findings of all runs.
    let state = folder.join("state.jsonl");
    let mut findings = read(&state)?;
    let made: Vec<_> = findings.iter().map(|one| one.fault.as_str()).collect();
    ensure!(made == FAULTS, "made {made:?}");
    for finding in &findings {
        println!("bounds kept: {}\n{finding}", finding.bounds_kept());
        ensure!(
            finding.promises_held() && finding.healed.is_some(),
            "{finding}"
        );
    }
    // Everything that the faults made unavailable is there again.
    let hall = stack.hall(10, 1).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;

    // All that was asked for is found already, so a second run makes nothing.
    let (code, said) = chaos(&folder, &["run", "--rounds", "1"]).await?;
    ensure!(code == Some(0), "ended with {code:?}: {said}");
    ensure!(said.contains("0 faults among"), "{said}");
    let is_good = findings.iter().all(Finding::is_good);
    let (code, said) = chaos(&folder, &["table"]).await?;
    ensure!(code == verdict(is_good), "ended with {code:?}: {said}");
    ensure!(said.contains("Measured on a-tree."), "{said}");

    // The exit code follows from the findings: 0 where every bound was kept, and 1 where a bound of
    // one was missed, or a promise of one was broken.
    for check in findings.iter_mut().flat_map(|one| &mut one.checks) {
        (check.seconds, check.bound) = (Some(1.0), 2.0);
    }
    ends_with(0, &folder, &findings).await?;
    let mut late = findings.clone();
    late[0].checks[0].seconds = Some(3.0);
    ends_with(1, &folder, &late).await?;
    let mut broken = findings;
    broken[0]
        .promises
        .insert("1".to_owned(), "broken".to_owned());
    ends_with(1, &folder, &broken).await?;
    std::fs::remove_dir_all(&folder)?;
    hall.every_promise_held().await
}

/// What the program ends with.
fn verdict(is_good: bool) -> Option<i32> {
    Some(i32::from(!is_good))
}

fn read(state: &Path) -> anyhow::Result<Vec<Finding>> {
    let text = std::fs::read_to_string(state)?;
    let findings = text.lines().map(serde_json::from_str);
    Ok(findings.collect::<Result<_, _>>()?)
}

/// The table of these findings ends with this exit code.
async fn ends_with(wanted: i32, folder: &Path, findings: &[Finding]) -> anyhow::Result<()> {
    let lines = findings.iter().map(serde_json::to_string);
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    std::fs::write(folder.join("state.jsonl"), lines.join("\n"))?;
    let (code, said) = chaos(folder, &["table"]).await?;
    ensure!(code == Some(wanted), "ended with {code:?}: {said}");
    Ok(())
}

/// Makes the faults. The program ends with 2 where all is not well before a fault; a busy machine may
/// cause that, and the next run goes on where this one ended.
async fn run(folder: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let arguments = ["run", "--rounds", "1", "--tree", "a-tree"];
    for _ in 1..TRIES {
        let (code, said) = chaos(folder, &arguments).await?;
        if !said.contains("not well before the fault") {
            return Ok((code, said));
        }
    }
    chaos(folder, &arguments).await
}

/// Runs the program with its state in `folder`; gives its exit code and what it said.
async fn chaos(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut chaos = Command::new("chaos");
    chaos
        .args(arguments)
        .arg("--state")
        .arg(folder.join("state.jsonl"));
    if arguments[0] == "run" {
        let report = folder.join("report.json");
        chaos.args(["--seed", "5", "--faults", &FAULTS.join(" ")]);
        chaos.arg("--report").arg(report);
        chaos.arg("--tables").arg(folder.join("tables.md"));
    }
    let output = tokio::time::timeout(BOUND, chaos.kill_on_drop(true).output())
        .await
        .with_context(|| format!("it took longer than {BOUND:?}"))??;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    println!("{said}");
    Ok((output.status.code(), said))
}
