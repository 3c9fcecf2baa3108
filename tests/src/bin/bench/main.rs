//! `make bench`: speed as ratios against the obvious alternative in the same run, and size.
//!
//! Runs in the toolbox, joined to a stack of its own. Prints the table; exits 1 where a bound was
//! not kept.

mod booking;
mod catalog;
mod consumer;
mod failover;
mod size;
mod stack;
mod table;

use std::process::ExitCode;

use anyhow::Context;

use crate::stack::Stack;
use crate::table::Table;

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(table) => {
            println!("{table}");
            ExitCode::from(u8::from(table.0.iter().any(|row| !row.held)))
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Everything, least disturbing first.
async fn measure() -> anyhow::Result<Table> {
    let stack = Stack::from_environment()?;
    let mut table = Table::default();
    table.0.extend(size::measure(&stack).await.context("size")?);
    table.0.push(
        consumer::measure(&setting("SQS_ENDPOINT")?)
            .await
            .context("consumer")?,
    );
    table
        .0
        .push(catalog::measure(&stack).await.context("catalog")?);
    table
        .0
        .push(booking::measure(&stack).await.context("booking")?);
    table
        .0
        .extend(failover::measure(&stack).await.context("failover")?);
    Ok(table)
}

/// A setting that the toolbox gives.
fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
