//! Scenarios on the running test stack: each test's name is the promise that it checks.
//!
//! A scenario heals what an earlier one may have left behind, drives the stack as clients do, and
//! mostly ends with all checkers over its own history. The tests need the stack and the engine's
//! socket, so they are ignored by default and `make test` includes them. Those in `side_by_side`
//! share a stack and run a few at once. All others make faults, keep the whole stack busy or look at
//! all of it, so a stack runs them one after another (`deploy/test/queue.sh`).
//!
//! Every wait has a generous deadline (`deadline.rs`). The scenarios leave speed to `bench`, documented
//! bounds to `make bounds`, and random faults to `chaos`.

mod addresses;
mod browser;
mod chaos;
mod cold_start;
mod connections;
mod crowd;
mod dashboards;
mod dead_letters;
mod deadline;
mod fuzz;
mod guest;
mod hall;
mod haproxy;
mod interior;
mod leader;
mod light_load;
mod logs;
mod lost_answers;
mod pairs;
mod patroni;
mod pauses;
mod postgres_data;
mod postgres_lost;
mod prometheus;
mod proxy;
mod queue_lost;
mod redis_lost;
mod sentinels;
mod side_by_side;
mod signing_in;
mod slow_cards;
mod stack;
mod stops;
mod stores;
mod upgrade;
mod workers_lost;
