//! The workload: customers who sign up, browse, hold, order, sometimes cancel, whose cards are
//! sometimes declined, and who repeat with the same key when they get no answer.
//!
//! Promises: what customers choose is drawn from the seed alone ([`visit`]), so that a seed repeats
//! a run's choices; at most so many visits run at once as was asked for; every wait has a bound.
//! What it leaves to others: writing down what happened (`history`) and judging it (`checkers`).

pub mod background;
pub mod command;
pub mod customer;
pub mod demo;
mod meter;
pub mod organiser;
mod report;
mod run;
mod summary;
pub mod visit;

pub use customer::{Customer, Gained};
pub use organiser::Organiser;
pub use report::Report;
pub use run::{Plan, Progress, run, settle};
pub use summary::Summary;

use rand::RngExt;

/// An id that no other run has: part of every address and key that the run makes.
#[must_use]
pub fn run_id() -> String {
    format!("{:08x}", rand::rng().random::<u32>())
}

/// A password for accounts that nobody signs in to after the run.
#[must_use]
pub fn password() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}
