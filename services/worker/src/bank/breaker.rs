//! A circuit breaker: while a part is away nobody asks it, save one now and then who tries whether
//! it is back.
//!
//! The circuit opens at once when somebody found the part away, and after failures of several keys
//! in a row. Failures of one and the same key count once: a single card that never answers, tried
//! again and again, says nothing about the other cards. The trial is no customer's payment but
//! whatever cheap question the caller has; when it is answered, the circuit closes for all.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many keys that fail in a row open the circuit.
pub const FAILURES: usize = 5;

/// How long the circuit stays open until somebody tries, up to half as long again: so that the
/// replicas do not try in step.
pub const OPEN_FOR: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum State {
    /// The keys that failed since something was answered: fewer than [`FAILURES`].
    Closed {
        failing: BTreeSet<String>,
    },
    Open {
        until: Instant,
    },
    Trying,
}

impl State {
    fn closed() -> Self {
        Self::Closed {
            failing: BTreeSet::new(),
        }
    }

    fn open() -> Self {
        let open_for = OPEN_FOR.mul_f64(1.0 + 0.5 * rand::random::<f64>());
        Self::Open {
            until: Instant::now() + open_for,
        }
    }
}

/// The breaker of one part that we ask.
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    state: Mutex<State>,
    shown: prometheus::IntGauge,
}

/// What whoever wants to ask may do.
#[derive(Debug)]
pub enum Turn<'a> {
    /// Ask.
    Ask(Permit<'a>),
    /// Try first whether the part is back.
    Try(Trial<'a>),
}

impl Breaker {
    /// A closed circuit, called `name` in logs and shown by `shown` as 0, and as 1 while it is open.
    #[must_use]
    pub fn new(name: &'static str, shown: prometheus::IntGauge) -> Self {
        shown.set(0);
        Self {
            name,
            state: Mutex::new(State::closed()),
            shown,
        }
    }

    /// What one may do who wants to ask once under a key; `None` while the circuit is open.
    pub fn turn<'a>(&'a self, key: &'a str) -> Option<Turn<'a>> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Some(Turn::Ask(Permit {
                breaker: self,
                key,
                told: false,
            })),
            State::Open { until } if until <= Instant::now() => {
                *state = State::Trying;
                Some(Turn::Try(Trial { breaker: self }))
            }
            State::Open { .. } | State::Trying => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn_to(&self, state: &mut State, next: State) {
        let was_open = !matches!(state, State::Closed { .. });
        let is_open = !matches!(next, State::Closed { .. });
        if was_open != is_open {
            tracing::warn!(
                circuit.name = self.name,
                circuit.open = is_open,
                "a circuit to the bank changed"
            );
        }
        self.shown.set(i64::from(is_open));
        *state = next;
    }
}

/// The permission to ask once. Dropped without a word it counts as a failure of its key.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    key: &'a str,
    told: bool,
}

impl Permit<'_> {
    /// The part answered, whatever it said.
    pub fn answered(mut self) {
        self.told = true;
        let mut state = self.breaker.state();
        self.breaker.turn_to(&mut state, State::closed());
    }

    /// The part is away, not just for this key.
    pub fn away(mut self) {
        self.told = true;
        let mut state = self.breaker.state();
        if matches!(*state, State::Closed { .. }) {
            self.breaker.turn_to(&mut state, State::open());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let mut state = self.breaker.state();
        if let State::Closed { failing } = &mut *state {
            failing.insert(self.key.to_owned());
            if failing.len() >= FAILURES {
                self.breaker.turn_to(&mut state, State::open());
            }
        }
    }
}

/// The task of trying whether the part is back. Dropped without an answer it opens the circuit
/// again, so that a trial that was given up does not keep everybody waiting for its outcome.
#[derive(Debug)]
pub struct Trial<'a> {
    breaker: &'a Breaker,
}

impl Trial<'_> {
    /// The part answered: it may be asked again.
    pub fn answered(self) {
        let mut state = self.breaker.state();
        self.breaker.turn_to(&mut state, State::closed());
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if matches!(*state, State::Trying) {
            self.breaker.turn_to(&mut state, State::open());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        let shown = prometheus::IntGauge::new("circuit", "circuit").unwrap();
        Breaker::new("test", shown)
    }

    fn ask<'a>(breaker: &'a Breaker, key: &'a str) -> Permit<'a> {
        match breaker.turn(key) {
            Some(Turn::Ask(permit)) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn fail(breaker: &Breaker, times: usize) {
        for key in 0..times {
            drop(ask(breaker, &key.to_string()));
        }
    }

    async fn while_open() {
        tokio::time::advance(2 * OPEN_FOR).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        fail(&breaker, FAILURES - 1);
        ask(&breaker, "a").answered();
        fail(&breaker, FAILURES - 1);
        ask(&breaker, "a").answered();
        fail(&breaker, FAILURES);
        assert!(breaker.turn("a").is_none());
        assert_eq!(breaker.shown.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_alone_never_opens_it() {
        let breaker = breaker();
        for _ in 0..3 * FAILURES {
            drop(ask(&breaker, "a card that never answers"));
        }
        assert_eq!(breaker.shown.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_once_when_the_part_is_away() {
        let breaker = breaker();
        ask(&breaker, "a").away();
        assert!(breaker.turn("b").is_none());
        assert_eq!(breaker.shown.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_after_a_while_and_decides_for_all() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        while_open().await;
        let Some(Turn::Try(trial)) = breaker.turn("a") else {
            panic!("after a while one tries, and asks for nothing");
        };
        assert!(breaker.turn("a").is_none(), "one at a time");
        drop(trial);
        assert!(breaker.turn("a").is_none(), "it failed: open again");
        while_open().await;
        let Some(Turn::Try(trial)) = breaker.turn("a") else {
            panic!("and again");
        };
        trial.answered();
        ask(&breaker, "a").answered();
        ask(&breaker, "b").answered();
        assert_eq!(breaker.shown.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_meanwhile_closes_it_and_a_late_trial_changes_nothing() {
        let breaker = breaker();
        let slow = ask(&breaker, "slow");
        ask(&breaker, "a").away();
        while_open().await;
        let trial = breaker.turn("b");
        slow.answered();
        drop(trial);
        ask(&breaker, "a").answered();
        assert_eq!(breaker.shown.get(), 0);
    }
}
