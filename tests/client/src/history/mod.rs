//! What was asked and what was answered, with times, as clients saw it.
//!
//! Promises: every attempt is one [`Record`]; the history never grows over its bound (then it says
//! that it is incomplete, and a run that overflowed it counts as failed); it can be written as
//! JSON lines and read again; passwords and sessions never stand in it. What it leaves to others:
//! any judgement (`checkers`).

mod record;

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use record::{Outcome, Record};

/// Most bytes of a history, by the weight of its records: some 200,000 answers of orders. The
/// memory of the container that `make crowd` runs in is half as much again (`deploy/crowd`).
pub const BOUND: usize = 512 * 1024 * 1024;

type Watcher = Box<dyn Fn(&Record) + Send + Sync>;

/// A bounded list of records that many customers write to.
pub struct History {
    kept: Mutex<Kept>,
    bound: usize,
    dropped: AtomicU64,
    watcher: Option<Watcher>,
}

#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    /// What they weigh together.
    weight: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            bound: BOUND,
            dropped: AtomicU64::default(),
            watcher: None,
        }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A history that shows each record to `watcher` as it is written.
    #[must_use]
    pub fn watched(watcher: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self {
            watcher: Some(Box::new(watcher)),
            ..Self::default()
        }
    }

    /// A history that only shows records to `watcher` and keeps none: for crowds without an end.
    #[must_use]
    pub fn passing(watcher: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self {
            bound: 0,
            ..Self::watched(watcher)
        }
    }

    /// Writes one record down.
    pub fn write(&self, record: Record) {
        if let Some(watcher) = &self.watcher {
            watcher(&record);
        }
        if self.bound == 0 {
            return;
        }
        let mut kept = self.kept();
        let weight = kept.weight + record.weight();
        if weight <= self.bound {
            kept.weight = weight;
            kept.records.push(record);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records did not fit.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The records so far, in the order in which their answers came.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.kept().records.clone()
    }

    /// Looks at the records so far without copying them; nobody can write meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&[Record]) -> T) -> T {
        at(&self.kept().records)
    }

    /// Writes the records as JSON lines.
    ///
    /// # Errors
    /// The writer failed.
    pub fn write_lines(&self, mut out: impl Write) -> std::io::Result<()> {
        self.look(|records| {
            for record in records {
                serde_json::to_writer(&mut out, record)?;
                out.write_all(b"\n")?;
            }
            out.flush()
        })
    }
}

/// Reads records from JSON lines.
///
/// # Errors
/// The reader failed, or a line is not a record.
pub fn read_lines(lines: impl BufRead) -> std::io::Result<Vec<Record>> {
    lines
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{Answer, Ask, Operation};

    fn answered(operation: Operation) -> Record {
        let ask = Ask::post(operation, "/x")
            .key("k")
            .json(json!({"password": "hunter2"}));
        let answer = Answer {
            status: 201,
            body: json!({"token": "t0ken"}),
            ..Answer::default()
        };
        Record::new(
            Uuid::nil(),
            &ask,
            0,
            Utc::now(),
            Duration::from_millis(3),
            &Ok(answer),
        )
    }

    #[test]
    fn a_history_survives_being_written_and_read() {
        let history = History::new();
        history.write(answered(Operation::PlaceHold));
        let mut text = Vec::new();
        history.write_lines(&mut text).unwrap();
        let again = read_lines(text.as_slice()).unwrap();
        assert_eq!(again, history.records());
    }

    #[test]
    fn passwords_and_sessions_never_stand_in_it() {
        for operation in [Operation::SignUp, Operation::SignIn] {
            let text = serde_json::to_string(&answered(operation)).unwrap();
            assert!(
                !text.contains("hunter2") && !text.contains("t0ken"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_endless_crowd_keeps_nothing() {
        let history = History::passing(|_| {});
        history.write(answered(Operation::PlaceHold));
        assert!(history.records().is_empty());
        assert_eq!(history.dropped(), 0);
    }

    #[test]
    fn a_full_history_takes_no_more_and_says_so() {
        let record = answered(Operation::PlaceHold);
        let history = History {
            bound: record.weight() * 2,
            ..History::default()
        };
        for _ in 0..5 {
            history.write(record.clone());
        }
        assert_eq!((history.records().len(), history.dropped()), (2, 3));
    }
}
