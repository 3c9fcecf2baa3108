//! The load generator: customers that are drawn from a seed and buy tickets through Nginx.
//!
//! Customers sign up, browse, hold, order and sometimes cancel; some of their cards are declined,
//! and they repeat a request with the same key when no answer comes. The seed alone decides what
//! they choose ([`visit`]), so the same seed repeats the choices of a run. A run keeps at most the
//! requested number of visits in flight, and every wait has a bound. The crowd leaves the retries
//! and the history to `client`, and the judgement to `checkers`.

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
