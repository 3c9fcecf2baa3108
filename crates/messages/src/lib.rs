//! What services say to one another, versioned.
//!
//! A message names its version; a reader refuses a version that it does not know, so that a
//! message of tomorrow ends in the dead-letter queue of today instead of being misread. Fields are
//! only ever added, with a default, within a version.

pub mod account;
pub mod audit;
pub mod bank;
pub mod outbox;
pub mod seating;
