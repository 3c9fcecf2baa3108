//! How long to wait before the next attempt: longer with each failure, and never in step with
//! others that failed at the same time.
//!
//! The pauses are those that M. Brooker calls exponential backoff with equal jitter ("Exponential
//! Backoff And Jitter", AWS Architecture Blog, 2015): half of each is fixed, half is drawn.

use std::time::Duration;

/// Pauses that double with each failure, from `first` up to `most`, each between half and the
/// whole of that.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// An attempt succeeded: the next pause is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next attempt, which is taken to fail unless it is told otherwise.
    pub fn pause(&mut self) -> Duration {
        let pause = self.drawn(rand::random());
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn drawn(&self, random: u16) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures.min(16)))
            .min(self.most);
        ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(2);

    proptest::proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_above_the_ceiling(failures: u32, random: u16) {
            let backoff = Backoff { first: FIRST, most: MOST, failures };
            let pause = backoff.drawn(random);
            proptest::prop_assert!(pause >= FIRST / 2 && pause <= MOST);
        }
    }

    #[test]
    fn pauses_grow_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new(FIRST, MOST);
        for _ in 0..8 {
            backoff.pause();
        }
        assert!(backoff.pause() >= MOST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
