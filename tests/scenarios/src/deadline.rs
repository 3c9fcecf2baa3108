//! How long a scenario waits for what must become true.

use std::time::Duration;

use client::Budget;

/// A scenario waits this many times as long as documented.
const SLACK: u32 = 4;

/// How often a scenario tries what a busy machine can spoil.
pub const TRIES: u32 = 4;

/// The deadline for what is documented to happen within `bound`.
///
/// `make bounds` measures the documented bounds and is strict about them. A scenario judges order,
/// safety and recovery, and must never fail because the machine was busy: three stacks run at once on
/// two cores. So a deadline here only separates late recovery from none.
pub const fn generous(bound: Duration) -> Duration {
    bound.saturating_mul(SLACK)
}

/// The retry budget of customers: generous enough for any recovery.
pub const RECOVERY: Budget = Budget {
    attempts: 1_000,
    time: generous(Duration::from_secs(45)),
};

/// A few attempts within a moment: enough for a busy machine, too few for a part that a fault made
/// unavailable. `booking` answers 503 after 1.2 s, and a slow disk alone can delay a commit for as
/// long.
pub const A_MOMENT: Budget = Budget {
    attempts: 3,
    time: generous(Duration::from_secs(2)),
};
