//! The command line of `chaos`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use serde_json::json;

use super::schedule::joined;
use super::{Filter, Finding, ROWS, Schedule, Stage, play, state, table};

/// One fault after another on a running stack while a crowd buys; then what customers saw, how
/// long it took to be well again, and whether every promise held.
#[derive(Debug, Parser)]
#[command(name = "chaos", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes faults; exit code 1 when a promise or a bound was broken
    Run(Run),
    /// Prints the table over all runs that a file keeps; exit code as that of the runs
    Table {
        /// The file
        #[arg(long)]
        state: PathBuf,
    },
    /// Prints the faults that there are
    List,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// For how long faults are begun
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// What they are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these: rows, faults, kinds or targets, parted by spaces (docs/failover.md lists them)
    #[arg(long, default_value = "")]
    faults: String,
    /// Each row so often, in turn, instead of drawn ones for some minutes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: Option<u32>,
    /// File that what is found is added to; a run of the same seed and faults goes on where it
    /// ended
    #[arg(long)]
    state: Option<PathBuf>,
    /// The state of the tree that is measured, to be kept with what is found
    #[arg(long, default_value = "")]
    tree: String,
    /// File for what this run found, as JSON
    #[arg(long)]
    report: Option<PathBuf>,
    /// File for the tables of this run, as Markdown
    #[arg(long)]
    tables: Option<PathBuf>,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(settings) => tokio::runtime::Runtime::new()
            .context("the runtime could not be started")
            .and_then(|runtime| runtime.block_on(Box::pin(run(settings)))),
        Command::Table { state } => print_table(&state),
        Command::List => {
            print!("{}", list());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("chaos: {error:#}");
        ExitCode::from(2)
    })
}

fn list() -> String {
    let mut text = String::new();
    for row in ROWS {
        let faults: Vec<_> = row.faults.iter().map(|faults| joined(faults)).collect();
        text.push_str(&format!("{:<24} {}\n", row.name, faults.join(" ")));
    }
    text
}

fn print_table(file: &std::path::Path) -> anyhow::Result<ExitCode> {
    let findings = state::read(file)?;
    print!("{}", table::rows(&findings));
    Ok(verdict(&findings))
}

fn verdict(findings: &[Finding]) -> ExitCode {
    ExitCode::from(u8::from(!findings.iter().all(Finding::is_good)))
}

/// Until when faults are begun.
#[derive(Clone, Copy, Debug)]
enum Until {
    Number(u32),
    Time(Instant),
}

async fn run(settings: Run) -> anyhow::Result<ExitCode> {
    let filter = Filter::parse(&settings.faults)?;
    let stage = Stage::from_environment().await?;
    let mut schedule = Schedule::drawn(settings.seed, &filter, stage.pace);
    let (mut until, mut among) = (
        Until::Time(Instant::now() + Duration::from_secs(settings.minutes * 60)),
        filter.text(),
    );
    if let Some(rounds) = settings.rounds {
        schedule = schedule.in_turn();
        let rows = u32::try_from(schedule.rows())?;
        until = Until::Number(rounds.saturating_mul(rows));
        among = format!("in turn: {among}");
    }
    stage.has(&schedule.targets()).await?;
    let earlier = match &settings.state {
        Some(file) => state::read(file)?,
        None => Vec::new(),
    };
    let first = state::next(&earlier, settings.seed, &among);
    eprintln!(
        "Hurting the stack {} on purpose, from fault {first} of seed {} on: watch it in Grafana.",
        stage.project.name(),
        settings.seed
    );
    let mut findings = Vec::new();
    let done = tokio::select! {
        done = make_faults(&stage, &schedule, first, until, &among, &settings, &mut findings) => done,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("Interrupted: what was hurt is made well.");
            let healed = stage.heal().await;
            healed.and_then(|()| Err(anyhow!("it was broken off, so nothing is proven")))
        }
    };
    report(&settings, &findings)?;
    done?;
    Ok(verdict(&findings))
}

async fn make_faults(
    stage: &Stage,
    schedule: &Schedule,
    first: u32,
    until: Until,
    among: &str,
    settings: &Run,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let mut rest = Duration::ZERO;
    for number in first.. {
        let over = match until {
            Until::Number(end) => number >= end,
            Until::Time(end) => Instant::now() >= end,
        };
        if over {
            break;
        }
        tokio::time::sleep(rest).await;
        let step = schedule.step(number);
        rest = step.rest;
        eprintln!(
            "{number:>3}. {} for {:.1} s …",
            step.name(),
            step.lasts().as_secs_f64()
        );
        let finding = play(stage, &step, schedule.seed, among).await;
        let mut finding = finding.with_context(|| format!("fault {number}, {}", step.name()))?;
        finding.tree.clone_from(&settings.tree);
        eprint!("{finding}");
        if let Some(file) = &settings.state {
            state::add(file, &finding)?;
        }
        findings.push(finding);
    }
    Ok(())
}

fn report(settings: &Run, findings: &[Finding]) -> anyhow::Result<()> {
    println!("\n{}", table::promises(findings));
    println!("{}", table::in_a_word(findings));
    if let Some(file) = &settings.tables {
        let tables = format!("{}\n{}", table::faults(findings), table::rows(findings));
        std::fs::write(file, tables).with_context(|| file.display().to_string())?;
        println!("Fault by fault, with times and bounds: {}", file.display());
    }
    if let Some(file) = &settings.report {
        let report = json!({
            "seed": settings.seed,
            "faults": settings.faults,
            "held": findings.iter().all(Finding::is_good),
            "findings": findings,
        });
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_the_faults_that_there_are() {
        let page = include_str!("../../../docs/failover.md");
        assert!(page.contains(&list()), "docs/failover.md lacks\n{}", list());
    }

    #[test]
    fn every_fault_that_is_listed_can_be_asked_for() {
        for word in list().split_whitespace() {
            assert!(Filter::parse(word).is_ok(), "{word}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
