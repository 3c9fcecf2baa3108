//! Scenarios that run at the same time, a few at once: each has an event and customers of its own.
//!
//! So each of them leaves every part as it is, asks for no more than some customers do, judges only
//! what is its own, and leaves the ledger and the bank's books apart for a moment at most, because
//! everybody who judges money waits until they agree. What does otherwise stands beside this
//! folder, and runs alone.

mod bad_input;
mod bodies;
mod cards;
mod documents;
mod edge;
mod expiry;
mod keys;
mod payments;
mod purchase;
mod races;
mod sessions;
