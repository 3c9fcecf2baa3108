//! One fault after another on a running stack while a crowd buys, and what customers saw of it.
//!
//! Promises: which faults are made is drawn from the seed alone ([`Schedule`]), never two at once
//! but for the pairs that are promised to be survived; after each fault the stack is made well
//! again before the next; every hall that was sold meanwhile is judged by all checkers; every wait
//! has a bound. What it leaves to others: making a fault and undoing it (`faults`), customers
//! (`crowd`), judgement (`checkers`).

pub mod command;
mod episode;
mod finding;
mod hall;
mod probe;
mod recovery;
mod row;
mod rows;
mod schedule;
pub mod sessions;
mod stage;
mod state;
mod table;

pub use episode::play;
pub use finding::{Checked, Finding, Seen};
pub use probe::Probe;
pub use row::{Check, Lasts, Moment, Pace, Row};
pub use rows::ROWS;
pub use schedule::{Filter, Schedule, Step};
pub use stage::Stage;
