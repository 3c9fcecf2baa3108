//! The double-entry ledger, for checkers.

pub mod read;
