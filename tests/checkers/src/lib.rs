//! The promises of Boxoffice, checked from outside.
//!
//! A checker is a pure function. It compares what clients were answered (the history) with what is
//! there afterwards (the [`Ending`], read through the APIs, `booking`'s internal listener and
//! `bank`'s own books) and returns a list of [`Violation`]s, each with the offending records. The
//! tests of each checker show that it finds its promise broken in a changed copy of [`sample`]. The
//! checkers leave it to `crowd` to make the history, and to their caller to wait until every order
//! is final before it reads the ending.

pub mod acknowledged;
mod attempts;
mod ending;
pub mod fifo_order;
pub mod final_states;
mod groups;
pub mod keys;
pub mod leader_terms;
pub mod money;
pub mod sample;
pub mod seats;

use chrono::TimeDelta;
pub use ending::{Ending, Witnesses};
use serde::Serialize;
use serde_json::Value;

use client::history::Record;

/// A broken promise, with what shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The records that show it.
    pub offending: Vec<Value>,
}

impl Violation {
    /// A violation shown by `offending`.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            offending: Vec::new(),
        }
    }

    /// Adds something that shows it.
    #[must_use]
    pub fn shown_by(mut self, record: &impl Serialize) -> Self {
        self.offending
            .push(serde_json::to_value(record).unwrap_or_default());
        self
    }

    /// Adds each of `records`.
    #[must_use]
    pub fn shown_by_all(self, records: impl IntoIterator<Item = impl Serialize>) -> Self {
        records
            .into_iter()
            .fold(self, |violation, record| violation.shown_by(&record))
    }
}

/// By so much may the clocks of clients and database differ (they share a machine).
const CLOCKS: TimeDelta = TimeDelta::milliseconds(50);

/// What a checker found.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing against the promise.
    Held,
    /// The promise is broken.
    Broken(Vec<Violation>),
    /// A witness that was to be asked did not answer, and why: nothing is known.
    NotChecked(String),
    /// The witness that the checker needs was not named.
    NotAsked(&'static str),
}

impl Verdict {
    /// Whether it speaks for the promise, or was not wanted.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Held | Self::NotAsked(_))
    }

    /// The words in the summary.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken(_) => "broken",
            Self::NotChecked(_) => "not checked",
            Self::NotAsked(_) => "not asked for",
        }
    }
}

/// A promise of README.md, with its checker.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Its number there.
    pub number: u8,
    /// What it says.
    pub says: &'static str,
    check: fn(&[Record], &Ending) -> Vec<Violation>,
    needs_bank: bool,
}

/// The promises that have a checker over a whole run, in the order of README.md. `make bounds`
/// and `make chaos` measure the eighth, the bounds on recovery.
pub const PROMISES: [Promise; 7] = [
    Promise {
        number: 1,
        says: "what was acknowledged is there afterwards",
        check: acknowledged::check,
        needs_bank: false,
    },
    Promise {
        number: 2,
        says: "no seat is sold twice",
        check: seats::check,
        needs_bank: false,
    },
    Promise {
        number: 3,
        says: "money is conserved",
        check: money::check,
        needs_bank: true,
    },
    Promise {
        number: 4,
        says: "one key, one effect, one answer",
        check: keys::check,
        needs_bank: false,
    },
    Promise {
        number: 5,
        says: "every order reaches a final state",
        check: final_states::check,
        needs_bank: false,
    },
    Promise {
        number: 6,
        says: "effects of a group come in order",
        check: fifo_order::check,
        needs_bank: true,
    },
    Promise {
        number: 7,
        says: "a leader acts once and never late",
        check: leader_terms::check,
        needs_bank: true,
    },
];

impl Promise {
    /// Checks the promise.
    #[must_use]
    pub fn verdict(&self, history: &[Record], ending: &Ending) -> Verdict {
        let missing = |unread: &Option<String>, needs| match unread {
            Some(why) => Verdict::NotChecked(why.clone()),
            None => Verdict::NotAsked(needs),
        };
        if ending.audit.is_none() {
            return missing(&ending.booking_unread, "needs --booking-internal");
        }
        if self.needs_bank && ending.books.is_none() {
            return missing(&ending.bank_unread, "needs --bank and --bank-key-file");
        }
        let violations = (self.check)(history, ending);
        if violations.is_empty() {
            Verdict::Held
        } else {
            Verdict::Broken(violations)
        }
    }
}

/// Checks every promise.
#[must_use]
pub fn verdicts(history: &[Record], ending: &Ending) -> Vec<(Promise, Verdict)> {
    PROMISES
        .iter()
        .map(|promise| (*promise, promise.verdict(history, ending)))
        .collect()
}
