//! The right to act: arithmetic on one monotonic clock, nothing else.
//!
//! `Instant` does not run while a whole machine is suspended. For that case, as for every other
//! in which clocks mislead, there is the fencing token.

use std::time::Duration;

use tokio::time::Instant;

/// How long one answered renewal lets a leader act: what both sides agreed on, less a margin of a
/// tenth for clocks that run at different rates and for the time between asking and acting.
pub(crate) fn span(lease: Duration, granted: Duration) -> Duration {
    let agreed = lease.min(granted);
    agreed - agreed / 10
}

/// Until when a leader may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    until: Instant,
}

impl Right {
    /// The right that a renewal gives which was sent at `sent`.
    pub(crate) fn from_renewal(sent: Instant, span: Duration) -> Self {
        Self { until: sent + span }
    }

    pub(crate) fn until(self) -> Instant {
        self.until
    }

    pub(crate) fn holds(self, now: Instant) -> bool {
        now < self.until
    }

    /// The right after another renewal was answered, `None` if it had lapsed by `now`: a right
    /// that lapsed does not come back, however fresh the answer.
    pub(crate) fn renewed(self, sent: Instant, span: Duration, now: Instant) -> Option<Self> {
        self.holds(now).then(|| Self {
            until: self.until.max(sent + span),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(base: Instant, millis: u64) -> Instant {
        base + Duration::from_millis(millis)
    }

    #[test]
    fn a_right_is_counted_from_when_the_renewal_was_sent() {
        let base = Instant::now();
        let right = Right::from_renewal(base, Duration::from_millis(4500));
        assert!(right.holds(at(base, 4499)));
        assert!(!right.holds(at(base, 4500)));
        // Sent at 1 s, answered at 4 s: counts from 1 s.
        let renewed = right.renewed(at(base, 1000), Duration::from_millis(4500), at(base, 4000));
        assert_eq!(renewed.map(Right::until), Some(at(base, 5500)));
    }

    #[test]
    fn the_shorter_of_what_was_asked_and_granted_counts() {
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(span(one, two), Duration::from_millis(900));
        assert_eq!(span(two, one), Duration::from_millis(900));
    }

    proptest! {
        /// A server keeps the lease for `lease` from when a renewal arrives, which is no earlier
        /// than it was sent. Whatever is sent, lost or answered late, the leader's right ends
        /// before the server's lease does, and never comes back.
        #[test]
        fn the_right_never_outlives_the_lease(
            renewals in prop::collection::vec((0_u64..2000, 0_u64..3000, 0_u64..3000, any::<bool>()), 1..40)
        ) {
            let lease = Duration::from_secs(5);
            let base = Instant::now();
            let mut right = Right::from_renewal(base, span(lease, lease));
            let mut lease_until = base + lease;
            let mut now = base;
            let mut lapsed = false;
            for (wait, there, back, answered) in renewals {
                now += Duration::from_millis(wait);
                let sent = now;
                let arrived = sent + Duration::from_millis(there);
                if arrived < lease_until {
                    lease_until = lease_until.max(arrived + lease);
                }
                now = arrived + Duration::from_millis(back);
                lapsed |= !right.holds(now);
                if answered {
                    match right.renewed(sent, span(lease, lease), now) {
                        Some(renewed) => {
                            prop_assert!(!lapsed);
                            prop_assert!(renewed.until() >= right.until());
                            right = renewed;
                        }
                        None => prop_assert!(lapsed),
                    }
                }
                prop_assert!(right.until() < lease_until);
            }
        }
    }
}
