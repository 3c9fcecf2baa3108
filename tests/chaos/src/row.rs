//! A line of the table of what happens after a failure (docs/operations.md): what may be done to the
//! stack, what must be well again by when, and how that is seen from outside.

use std::time::Duration;

use super::Probe;
use super::recovery::Measure;
use faults::{Kind, Target};

/// The settings that bounds are made of.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The leader's lease.
    pub lease: Duration,
    /// How long a message in hand stays invisible.
    pub visibility: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            visibility: Duration::from_secs(10),
        }
    }
}

/// What a time is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The fault; nothing is repaired meanwhile.
    Fault,
    /// Patroni on another node of Postgres says that it leads; nothing is repaired meanwhile.
    Led,
    /// The engine has started, woken or reconnected what was struck.
    Restored,
    /// What was struck in this role says that it is well; where that is two, one of them.
    Healthy(Target),
}

/// What must be well again.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What customers ask for.
    pub probe: Probe,
    /// From when the time is counted.
    pub from: Moment,
    /// What ends it.
    pub measure: Measure,
    /// By when, given how many requests were waiting at that moment.
    pub bound: fn(&Pace, usize) -> Duration,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug)]
pub enum Lasts {
    /// Longer than the bound, since the system must be well again by itself.
    PastTheBound,
    /// From so many to so many seconds: it is well again after the part came back.
    Seconds(u64, u64),
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in `FAULTS=` and in reports.
    pub name: &'static str,
    /// What is killed or paused, in the words of that table.
    pub says: &'static str,
    /// How often it is drawn, against the others.
    pub weight: u32,
    /// What may be done; each is one fault or two at once.
    pub faults: &'static [&'static [(Kind, Target)]],
    /// How long it lasts.
    pub lasts: Lasts,
    /// What must be well again.
    pub checks: &'static [Check],
}

impl Row {
    /// The longest bound that is counted from the fault.
    #[must_use]
    pub fn bound_from_the_fault(&self, pace: &Pace) -> Duration {
        let checks = self.checks.iter();
        let own = checks.filter(|check| check.from == Moment::Fault);
        own.map(|check| (check.bound)(pace, 0))
            .max()
            .unwrap_or_default()
    }
}
