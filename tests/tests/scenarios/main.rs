//! Scenarios on the running test stack: each test's name is the promise that it checks.
//!
//! They need the stack, the engine's socket, and to run one after another, because they make
//! faults; so they are ignored unless asked for, as `make test` does:
//! `cargo test --workspace --test scenarios -- --ignored --test-threads=1`.
//!
//! Each begins by healing what an earlier one may have left behind, and most end with all checkers
//! over their own history.

mod bad_input;
mod bodies;
mod cards;
mod chaos;
mod crowd;
mod dashboards;
mod dead_letters;
mod expiry;
mod fuzz;
mod guest;
mod hall;
mod keys;
mod leader;
mod logs;
mod lost_answers;
mod pairs;
mod patroni;
mod pauses;
mod payments;
mod postgres_lost;
mod proxy;
mod purchase;
mod queue_lost;
mod races;
mod redis_lost;
mod sentinels;
mod sessions;
mod stack;
mod stops;
mod stores;
