//! What containers log: JSON, one object a line with the same names, whoever wrote it; and the
//! script that makes it of plain text.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::DateTime;
use crowd::visit::cards;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::deadline::generous;
use crate::stack::Stack;

/// Containers that may have nothing to say.
const SILENT: [&str; 4] = [
    "prometheus",
    "postgres-exporter",
    "nginx-exporter",
    "secrets",
];

/// Containers whose programs log JSON of their own kind.
const FOREIGN: [&str; 8] = [
    "etcd-1",
    "etcd-2",
    "etcd-3",
    "prometheus",
    "postgres-exporter",
    "redis-exporter",
    "nginx-exporter",
    "grafana",
];

/// Our own processes; the lines of the others have the time that the engine keeps.
const OURS: [&str; 6] = ["identity", "catalog", "booking", "worker", "bank", "crowd"];

/// A program that says so when it hears a signal, as Postgres and Nginx would.
const LISTENER: &str = r#"$| = 1;
for my $name (qw(TERM INT QUIT)) { $SIG{$name} = sub { print "FATAL: heard $name\n"; exit 7 } }
print "up\n";
sleep 60;"#;

/// The script that makes JSON of lines, told this.
fn logging(told: &[&str]) -> Command {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/service/json-log.sh"
    );
    // As in a container, whatever this test was started from.
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,QUIT", "sh", script])
        .args(told)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn what_a_program_says_last_is_read_and_its_exit_code_is_kept() -> anyhow::Result<()> {
    for _ in 0..20 {
        let last = r#"printf 'one\n\nx FATAL:\t"last"\\words\n'; exit 3"#;
        let output = logging(&["part", "sh", "-c", last]).output().await?;
        ensure!(output.status.code() == Some(3), "{output:?}");
        let lines: Vec<Value> = std::str::from_utf8(&output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        ensure!(lines.len() == 2, "{lines:?}");
        ensure!(lines[0]["level"] == "info" && lines[1]["level"] == "error");
        ensure!(lines[1]["service.name"] == "part", "{lines:?}");
        ensure!(
            lines[1]["message"] == "x FATAL:\t\"last\"\\words",
            "{lines:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn signals_are_passed_on_to_the_program() -> anyhow::Result<()> {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut shell = logging(&["part", "perl", "-e", LISTENER]).spawn()?;
        let stdout = shell.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let up = lines.next_line().await?.context("said nothing")?;
        ensure!(up.contains("up"), "{up}");
        let id = shell.id().context("it ended")?.to_string();
        let kill = format!("kill -s {signal} {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        ensure!(sent.await?.success());
        let deadline = generous(Duration::from_secs(10));
        let ended = tokio::time::timeout(deadline, shell.wait()).await??;
        ensure!(ended.code() == Some(7), "{signal}: {ended}");
        let last = lines.next_line().await?.context("said nothing more")?;
        ensure!(last.contains(&format!("heard {signal}")), "{last}");
    }
    Ok(())
}

#[tokio::test]
async fn only_who_may_says_lines_that_are_json_already() -> anyhow::Result<()> {
    let line = r#"{"level":"warn","service.name":"booking","message":"forged"}"#;
    let said = async |program: &[&str]| {
        let output = logging(program).output().await?;
        anyhow::Ok(serde_json::from_slice::<Value>(&output.stdout)?)
    };
    let wrapped = said(&["part", "echo", line]).await?;
    ensure!(wrapped["service.name"] == "part", "{wrapped}");
    let as_it_is = said(&["--json", "part", "echo", line]).await?;
    ensure!(
        as_it_is == serde_json::from_str::<Value>(line)?,
        "{as_it_is}"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_said_as_plain_text_of_a_program_that_a_signal_ended() -> anyhow::Result<()> {
    let output = logging(&["part", "sh", "-c", "kill -s TERM $$"])
        .output()
        .await?;
    ensure!(output.status.code() == Some(143), "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn who_is_left_behind_by_the_program_does_not_keep_the_container() -> anyhow::Result<()> {
    // What is left behind outlasts the deadline.
    let left = logging(&["part", "sh", "-c", "sleep 120 3>&- & echo gone"]).output();
    let output = tokio::time::timeout(generous(Duration::from_secs(10)), left).await??;
    ensure!(output.status.success(), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stdout).contains("gone"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn every_line_that_a_container_logs_is_a_json_object() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(4, 1).await?;
    hall.order(0, cards::FINE).await?;
    for container in stack.project.all().await? {
        let log = container.logs(0).await?;
        let service = container.service.as_str();
        ensure!(
            !log.is_empty() || SILENT.contains(&service),
            "{} logged nothing",
            container.name()
        );
        for line in log.lines() {
            let object = serde_json::from_str::<Value>(line).unwrap_or_default();
            let is_well_named = object["level"].is_string()
                && (FOREIGN.contains(&service) || has_our_names(&object, service));
            ensure!(is_well_named, "{} logged: {line}", container.name());
        }
    }
    Ok(())
}

/// The names that stand in every line that we have a say in.
fn has_our_names(line: &Value, service: &str) -> bool {
    let level = line["level"].as_str();
    let time = line["time"].as_str().map(DateTime::parse_from_rfc3339);
    // What Nginx says of its requests has a time, what it says of its errors has none.
    let is_timed = time.map_or(!OURS.contains(&service), |time| time.is_ok());
    line["service.name"] == service
        && line["message"].is_string()
        && level.is_some_and(|level| level == level.to_lowercase())
        && is_timed
}
