//! The crowd, its checkers, faults, and the client that they all use.
//!
//! Everything here stands outside: it knows Boxoffice through Nginx, through the internal pages
//! that the checkers read, through `bank`'s books and through the container engine. The scenarios
//! in `tests/scenarios` are made of these rooms, and so are the programs `crowd` and
//! `chaos`.

pub mod chaos;
pub mod checkers;
pub mod client;
pub mod crowd;
pub mod faults;
pub mod history;
