//! `make bench`: speed as ratios against the obvious alternative in the same run, and size.
//!
//! The program runs in the toolbox, joined to a stack of its own. It heals the stack before each
//! part, measures it within a bound, prints the table and exits with 1 where a row misses its
//! limit; a part that fails becomes a row that says why. Arguments name the parts to measure, by
//! default all of them: `size failover consumer catalog booking deployment`. The benchmark leaves
//! it to the scenarios to judge what the answers say.

mod booking;
mod catalog;
mod consumer;
mod deployment;
mod failover;
mod processors;
mod size;
mod stack;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::consumer::Kind;
use crate::failover::Fault;
use crate::stack::Stack;
use crate::table::{Row, Table};

/// How long the stack may take to be well again before a part.
pub const HEAL_BOUND: Duration = Duration::from_secs(90);

/// No part may take longer.
const PART_BOUND: Duration = Duration::from_secs(15 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    match Box::pin(measure(&parts)).await {
        Ok(table) => {
            print!("{table}");
            ExitCode::from(u8::from(!table.held()))
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Everything that is asked for. What leaves nothing behind comes first, booking and its backlog
/// last.
async fn measure(parts: &[String]) -> anyhow::Result<Table> {
    let stack = Stack::from_environment().await?;
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let mut rows = Vec::new();

    let at_first = match asked("size") {
        true => Some(on(&stack, "size", size::read(&stack)).await),
        false => None,
    };
    if asked("failover") {
        for fault in [Fault::Killed, Fault::Stopped] {
            let (what, most) = fault.question();
            let longest = on(&stack, what, failover::measure(&stack, fault)).await;
            rows.push(Row::at_most(what, most, "s", longest));
        }
    }
    if asked("consumer") {
        for (kind, what) in [
            (Kind::Standard, "messages consumed a second, one worker"),
            (Kind::Fifo, "the same from a FIFO queue"),
        ] {
            let rates = on(&stack, what, consumer::measure(&stack, kind)).await;
            let alternative = "bare loop of receive and delete";
            rows.push(Row::ratio(what, alternative, 0.9, rates));
        }
    }
    if asked("catalog") {
        let what = "a cached catalog read through Nginx";
        let rates = on(&stack, what, catalog::measure(&stack)).await;
        let alternative = "bare handler behind the same Nginx";
        rows.push(Row::ratio(what, alternative, 0.6, rates));
    }
    if asked("booking") {
        let what = "hold and order, asked of `booking`";
        let rates = on(&stack, what, booking::measure(&stack)).await;
        let alternative = "pgbench, the same statements";
        rows.push(Row::ratio(what, alternative, 0.5, rates));
    }
    if let Some(at_first) = at_first {
        let again = async {
            if asked("booking") {
                booking::settle(&stack).await?;
            }
            size::read(&stack).await
        };
        let in_the_end = on(&stack, "size, again", again).await;
        rows.extend(size::rows(&stack, at_first, in_the_end).await);
    }
    if asked("deployment") {
        rows.extend(deployment::rows());
    }
    Ok(Table(rows))
}

/// Measures a part, on a stack that is well, within a bound.
async fn on<T>(
    stack: &Stack,
    part: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    eprintln!("bench: {part}");
    let work = async {
        stack.project.heal(HEAL_BOUND).await?;
        work.await
    };
    let done = tokio::time::timeout(PART_BOUND, Box::pin(work)).await;
    let done = done.with_context(|| format!("not done within {PART_BOUND:?}"))?;
    if let Err(error) = &done {
        eprintln!("bench: {part}: {error:#}");
    }
    done
}

/// A setting that the toolbox gives.
fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
