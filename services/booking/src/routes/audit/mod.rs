//! An event's books, for checkers.

pub mod books;
pub mod read;
