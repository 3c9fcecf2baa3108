//! One fault after another on a running stack while a crowd buys, and what customers saw of it.
//!
//! A [`Schedule`] draws the faults from the seed alone. `chaos` makes one fault at a time, except
//! for the pairs that the stack is promised to survive, and heals the stack before the next one.
//! All checkers judge every hall that was sold meanwhile, and every wait has a bound. The crate
//! leaves it to `faults` to make and undo a fault, to `crowd` to buy, and to `checkers` to judge.

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
