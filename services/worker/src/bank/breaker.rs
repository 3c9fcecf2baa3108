//! A circuit breaker: after some failures in a row nobody asks for a while, then one tries.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many failures in a row open the circuit.
pub const FAILURES: u32 = 5;

/// How long the circuit stays open.
pub const OPEN_FOR: Duration = Duration::from_secs(5);

/// How soon to ask again while one tries.
const WHILE_TRYING: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Trying,
}

/// The breaker of one part that we ask.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    shown: prometheus::IntGauge,
}

impl Breaker {
    /// A closed circuit, shown by `shown` as 0, and as 1 while it is open.
    #[must_use]
    pub fn new(shown: prometheus::IntGauge) -> Self {
        shown.set(0);
        Self {
            state: Mutex::new(State::Closed { failures: 0 }),
            shown,
        }
    }

    /// The permission to ask once.
    ///
    /// # Errors
    /// How long to wait before asking for it again.
    pub fn permit(&self) -> Result<Permit<'_>, Duration> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => {}
            State::Open { until } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *state = State::Trying;
            }
            State::Trying => return Err(WHILE_TRYING),
        }
        Ok(Permit {
            breaker: self,
            told: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, answered: bool) {
        let mut state = self.state();
        let next = match (*state, answered) {
            (_, true) => State::Closed { failures: 0 },
            (State::Closed { failures }, false) if failures + 1 < FAILURES => State::Closed {
                failures: failures + 1,
            },
            (open @ State::Open { .. }, false) => open,
            (State::Closed { .. } | State::Trying, false) => State::Open {
                until: Instant::now() + OPEN_FOR,
            },
        };
        let was_open = !matches!(*state, State::Closed { .. });
        let is_open = !matches!(next, State::Closed { .. });
        if was_open != is_open {
            tracing::warn!(circuit.open = is_open, "the circuit to the bank changed");
        }
        self.shown.set(i64::from(is_open));
        *state = next;
    }
}

/// The permission to ask once. Dropped without a word it counts as a failure, so that a call that
/// was given up cannot keep the circuit waiting for its outcome.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    told: bool,
}

impl Permit<'_> {
    /// The part answered, whatever it said.
    pub fn answered(mut self) {
        self.told = true;
        self.breaker.tell(true);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.tell(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(prometheus::IntGauge::new("circuit", "circuit").unwrap())
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            drop(breaker.permit().unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        fail(&breaker, FAILURES - 1);
        breaker.permit().unwrap().answered();
        fail(&breaker, FAILURES - 1);
        assert!(breaker.permit().is_ok_and(|permit| {
            permit.answered();
            true
        }));
        fail(&breaker, FAILURES);
        assert!(breaker.permit().is_err());
        assert_eq!(breaker.shown.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_after_a_while_and_decides_for_all() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        tokio::time::advance(OPEN_FOR).await;
        let trying = breaker.permit().unwrap();
        assert!(breaker.permit().is_err(), "one at a time");
        drop(trying);
        assert!(
            breaker.permit().is_err(),
            "it failed: open for as long again"
        );
        tokio::time::advance(OPEN_FOR).await;
        breaker.permit().unwrap().answered();
        assert!(breaker.permit().is_ok());
        assert_eq!(breaker.shown.get(), 0);
    }
}
