//! The outbox, for checkers.

pub mod read;
