//! How long a scenario waits for what must become true.

use std::time::Duration;

use client::Budget;

/// A scenario waits this many times as long as documented.
pub const SLACK: u32 = 4;

/// The deadline for what is documented to happen within `bound`.
///
/// `make bounds` measures the documented bounds and is strict about them. A scenario judges order,
/// safety and recovery, and must never fail because the machine was busy: three stacks run at once on
/// two cores. So a deadline here only tells a system that recovers late from one that does not.
pub const fn generous(bound: Duration) -> Duration {
    bound.saturating_mul(SLACK)
}

/// The retry budget of customers: generous enough for any recovery.
pub const RECOVERY: Budget = Budget {
    attempts: 1_000,
    time: generous(Duration::from_secs(45)),
};

/// One attempt, and few more: a part that a fault made unavailable outlasts them, a moment in which
/// the machine was busy does not. `booking` answers 503 after 1.2 s, and a slow disk alone can delay
/// a commit for as long.
pub const A_MOMENT: Budget = Budget {
    attempts: SLACK,
    time: generous(Duration::from_secs(2)),
};
