//! An event's books, for checkers.

pub mod read;
