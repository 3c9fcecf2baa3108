//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(2);

/// Pauses that double with each failure up to 2 s, each between half and the whole of that, so
/// that candidates do not try in step.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    failures: u32,
}

impl Pause {
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = jittered(self.failures, rand::random());
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

fn jittered(failures: u32, random: u16) -> Duration {
    let ceiling = FIRST
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(MOST);
    ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_above_the_ceiling(failures: u32, random: u16) {
            let pause = jittered(failures, random);
            proptest::prop_assert!(pause >= FIRST / 2 && pause <= MOST);
        }
    }

    #[test]
    fn pauses_grow_and_start_anew_after_a_success() {
        let mut pause = Pause::default();
        for _ in 0..8 {
            pause.next();
        }
        assert!(pause.next() >= MOST / 2);
        pause.reset();
        assert!(pause.next() <= FIRST);
    }
}
