//! A circuit breaker: while a part is away nobody asks it, save one now and then who tries whether
//! it is back.
//!
//! The circuit opens after failures in a row, and at once when somebody found the part away.
//! Failures under one and the same key count once: a single card that never answers, tried again
//! and again, says nothing about the other cards. Where all ask for the same, they ask without a
//! key, and each failure counts.
//!
//! The trial is nobody's request but whatever cheap question the caller has; when it is answered,
//! the circuit closes for all. Either whoever wants to ask makes it first ([`Breaker::trial`]), or
//! the one whose failure opened the circuit sees to it that it is made beside all requests
//! ([`Breaker::watch`]), so that none is kept waiting for its outcome.
//!
//! What this promises: while the circuit is open a refusal takes no time, and one trial is made at
//! a time. What it leaves to others: time-outs, of the question and of the trial, and what counts as
//! a failure.
//!
//! Source: Michael Nygard, "Release It!", chapter "Stability patterns".

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many failures in a row open it.
    pub failures: usize,
    /// How long it stays open until somebody tries, up to half as long again: so that replicas do
    /// not try in step.
    pub open_for: Duration,
}

#[derive(Debug)]
enum State {
    /// With what failed since something was answered.
    Closed(Failures),
    Open {
        until: Instant,
    },
    Trying,
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    keys: BTreeSet<String>,
    without_key: usize,
}

impl Failures {
    fn add(&mut self, key: Option<&str>) {
        match key {
            Some(key) => {
                self.keys.insert(key.to_owned());
            }
            None => self.without_key += 1,
        }
    }

    fn count(&self) -> usize {
        self.keys.len() + self.without_key
    }
}

/// The breaker of one part that is asked. Clones share the circuit.
#[derive(Clone, Debug)]
pub struct Breaker(Arc<Circuit>);

#[derive(Debug)]
struct Circuit {
    name: &'static str,
    options: Options,
    state: Mutex<State>,
    shown: prometheus::IntGauge,
}

impl Breaker {
    /// A closed circuit, called `name` in logs and shown by `shown` as 0, and as 1 while it is open.
    #[must_use]
    pub fn new(name: &'static str, options: Options, shown: prometheus::IntGauge) -> Self {
        shown.set(0);
        Self(Arc::new(Circuit {
            name,
            options,
            state: Mutex::new(State::Closed(Failures::default())),
            shown,
        }))
    }

    /// The permission to ask once; none while the circuit is open.
    #[must_use]
    pub fn permit(&self) -> Option<Permit<'_>> {
        self.permit_under(None)
    }

    /// The permission to ask once under a key, whose failures in a row count as one.
    #[must_use]
    pub fn permit_for<'a>(&'a self, key: &'a str) -> Option<Permit<'a>> {
        self.permit_under(Some(key))
    }

    fn permit_under<'a>(&'a self, key: Option<&'a str>) -> Option<Permit<'a>> {
        (!self.is_open()).then_some(Permit { breaker: self, key })
    }

    /// Whether nobody may ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed(_))
    }

    /// The task of trying whether the part is back, once the circuit was open for its time; for one
    /// at a time.
    #[must_use]
    pub fn trial(&self) -> Option<Trial<'_>> {
        let mut state = self.state();
        match *state {
            State::Open { until } if until <= Instant::now() => {
                *state = State::Trying;
                Some(Trial { breaker: self })
            }
            _ => None,
        }
    }

    /// Tries by `is_back` whether the part is back, again and again until the circuit is closed: in a
    /// task of its own, beside all requests. A trial that panics is one that was not answered.
    pub fn watch<F, Fut>(&self, is_back: F) -> JoinHandle<()>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send,
    {
        let (breaker, is_back) = (self.clone(), Arc::new(is_back));
        tokio::spawn(async move {
            while breaker.is_open() {
                tokio::time::sleep(breaker.0.options.open_for / 4).await;
                let Some(trial) = breaker.trial() else {
                    continue;
                };
                // A task of its own: a panic ends this trial and not the watch.
                let asked = is_back.clone();
                let answer = tokio::spawn(async move { asked().await }).await;
                if answer.unwrap_or(false) {
                    trial.answered();
                }
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, state: &mut State) {
        let open_for = self.0.options.open_for;
        let open_for = open_for.mul_f64(1.0 + 0.5 * rand::random::<f64>());
        let until = Instant::now() + open_for;
        self.turn_to(state, State::Open { until });
    }

    fn close(&self, state: &mut State) {
        self.turn_to(state, State::Closed(Failures::default()));
    }

    fn turn_to(&self, state: &mut State, next: State) {
        let was_open = !matches!(state, State::Closed(_));
        let is_open = !matches!(next, State::Closed(_));
        if was_open != is_open {
            tracing::warn!(
                circuit.name = self.0.name,
                circuit.open = is_open,
                "a circuit breaker opened or closed"
            );
        }
        self.0.shown.set(i64::from(is_open));
        *state = next;
    }
}

/// The permission to ask once. Dropped without a word it says nothing of the part: whoever hung up
/// has not learned how it is.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    key: Option<&'a str>,
}

impl Permit<'_> {
    /// The part answered, whatever it said.
    pub fn answered(self) {
        let mut state = self.breaker.state();
        self.breaker.close(&mut state);
    }

    /// The part did not answer. Tells whether this opened the circuit, so that whoever it was can
    /// see to the trials.
    pub fn failed(self) -> bool {
        let mut state = self.breaker.state();
        let State::Closed(failures) = &mut *state else {
            return false;
        };
        failures.add(self.key);
        let opens = failures.count() >= self.breaker.0.options.failures;
        if opens {
            self.breaker.open(&mut state);
        }
        opens
    }

    /// The part is away, not just for this one.
    pub fn away(self) {
        let mut state = self.breaker.state();
        if matches!(*state, State::Closed(_)) {
            self.breaker.open(&mut state);
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
        self.breaker.close(&mut state);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if matches!(*state, State::Trying) {
            self.breaker.open(&mut state);
        }
    }
}
