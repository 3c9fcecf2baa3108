//! How often and how long a request is repeated: pauses that double with jitter, a bound on both.

use std::time::{Duration, Instant};

use rand::RngExt;

/// The longest pause that `Retry-After` can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What one logical request may spend.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Most attempts, the first included.
    pub attempts: u32,
    /// No attempt begins later than this after the first one.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            attempts: 30,
            time: Duration::from_secs(45),
        }
    }
}

impl Budget {
    /// One attempt, no repetition.
    pub const ONCE: Self = Self {
        attempts: 1,
        time: Duration::ZERO,
    };

    /// Starts counting.
    #[must_use]
    pub fn begin(self) -> Tries {
        Tries {
            budget: self,
            since: Instant::now(),
            made: 0,
        }
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub struct Tries {
    budget: Budget,
    since: Instant,
    made: u32,
}

impl Tries {
    /// How many repetitions were made so far.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// The pause before the next attempt, or nothing when the budget is spent. The jitter is not
    /// drawn from the run's seed: it changes when something is asked, never what.
    pub fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.made += 1;
        let pause = pause(self.made, retry_after, rand::rng().random_range(0.5..1.0));
        let fits =
            self.made < self.budget.attempts && self.since.elapsed() + pause < self.budget.time;
        fits.then_some(pause)
    }
}

/// `share` of the pause before repetition number `made`, and never less than was asked for.
fn pause(made: u32, retry_after: Option<Duration>, share: f64) -> Duration {
    let doubled = Duration::from_millis(100) * 2_u32.pow(made.min(5) - made.min(1));
    let own = doubled.min(Duration::from_secs(2)).mul_f64(share);
    own.max(retry_after.unwrap_or_default().min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_respect_retry_after() {
        assert_eq!(pause(1, None, 1.0), Duration::from_millis(100));
        assert_eq!(pause(2, None, 1.0), Duration::from_millis(200));
        assert!(pause(40, None, 1.0) <= Duration::from_secs(2));
        assert_eq!(
            pause(1, Some(Duration::from_secs(3)), 0.5),
            Duration::from_secs(3)
        );
        assert_eq!(
            pause(1, Some(Duration::from_secs(3600)), 0.5),
            LONGEST_PAUSE
        );
    }

    #[test]
    fn a_spent_budget_allows_no_further_attempt() {
        assert!(Budget::ONCE.begin().next(None).is_none());
        let mut tries = Budget {
            attempts: 3,
            time: Duration::from_secs(60),
        }
        .begin();
        assert!(tries.next(None).is_some());
        assert!(tries.next(None).is_some());
        assert!(tries.next(None).is_none());
    }
}
