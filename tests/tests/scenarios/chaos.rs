//! The program of `make chaos`, one round of rows that no other scenario plays: what it is told to
//! make, it makes, every bound and promise holds, and its report and its state say so.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::stack::Stack;

/// Parts that are slow, frozen or cut off.
const FAULTS: [&str; 3] = ["cut:redis-primary", "pause:haproxy", "slow:booking"];

/// How long a run may take.
const BOUND: Duration = Duration::from_secs(240);

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn parts_that_hang_are_cut_off_or_are_slow_break_no_promise_and_no_bound()
-> anyhow::Result<()> {
    Stack::ready().await?;
    let folder = std::env::temp_dir().join(format!("chaos-{}", tests::crowd::run_id()));
    std::fs::create_dir_all(&folder)?;
    let (code, said) = chaos(&folder, &["run", "--rounds", "1", "--tree", "a-tree"]).await?;
    ensure!(code == Some(0), "ended with {code:?}: {said}");
    ensure!(said.contains("3 faults among"), "{said}");
    ensure!(!said.contains("NOT HELD"), "{said}");
    let report = std::fs::read_to_string(folder.join("report.json"))?;
    let report: Value = serde_json::from_str(&report)?;
    ensure!(report["seed"] == 5 && report["held"] == true, "{report}");
    let made = report["findings"].as_array().context("no findings")?;
    let made: Vec<_> = made.iter().map(|one| one["fault"].as_str()).collect();
    ensure!(made == FAULTS.map(Some), "made {made:?}");

    // All that was asked for is found already, so a second run makes nothing.
    let (code, said) = chaos(&folder, &["run", "--rounds", "1"]).await?;
    ensure!(code == Some(0), "ended with {code:?}: {said}");
    ensure!(said.contains("0 faults among"), "{said}");
    let (code, said) = chaos(&folder, &["table"]).await?;
    ensure!(code == Some(0), "ended with {code:?}: {said}");
    ensure!(said.contains("Measured on a-tree."), "{said}");

    // One finding that did not hold is enough for another exit code.
    let state = folder.join("state.jsonl");
    let found = std::fs::read_to_string(&state)?;
    std::fs::write(&state, found.replacen("\"held\"", "\"broken\"", 1))?;
    let (code, said) = chaos(&folder, &["table"]).await?;
    ensure!(code == Some(1), "ended with {code:?}: {said}");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Runs the program with its state in `folder`; gives its exit code and what it said.
async fn chaos(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos
        .args(arguments)
        .arg("--state")
        .arg(folder.join("state.jsonl"));
    if arguments[0] == "run" {
        let report = folder.join("report.json");
        chaos.args(["--seed", "5", "--faults", &FAULTS.join(" ")]);
        chaos.arg("--report").arg(report);
    }
    let output = tokio::time::timeout(BOUND, chaos.kill_on_drop(true).output())
        .await
        .with_context(|| format!("it took longer than {BOUND:?}"))??;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    println!("{said}");
    Ok((output.status.code(), said))
}
