//! Scenarios on the running test stack: each test's name is the promise that it checks.
//!
//! They need the stack and the engine's socket, so they are ignored unless asked for, as `make test`
//! does. Those in `side_by_side` run first and a few at once. All others make faults, keep the whole
//! stack busy or look at all of it, so they run one after another:
//!
//! ```text
//! cargo test --workspace --test scenarios -- --ignored --test-threads=4 side_by_side::
//! cargo test --workspace --test scenarios -- --ignored --test-threads=1 --skip side_by_side::
//! ```
//!
//! Each begins by healing what an earlier one may have left behind, and most end with all checkers
//! over their own history.

mod addresses;
mod chaos;
mod crowd;
mod dashboards;
mod dead_letters;
mod fuzz;
mod guest;
mod hall;
mod haproxy;
mod leader;
mod logs;
mod lost_answers;
mod pairs;
mod patroni;
mod pauses;
mod postgres_lost;
mod proxy;
mod queue_lost;
mod redis_lost;
mod sentinels;
mod side_by_side;
mod slow_cards;
mod stack;
mod stops;
mod stores;
mod workers_lost;
