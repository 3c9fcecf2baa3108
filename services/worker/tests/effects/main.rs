//! What the worker does to `booking`'s database, on a real Postgres with `booking`'s migrations and
//! with the real bank on a port of its own, on the queues, and before banks that are not well.
#![allow(clippy::unwrap_used)] // a test's helpers may panic, too

mod bank;
mod dead_letters;
mod fence;
mod payments;
mod prune;
mod queues;
mod relay;
mod settle;
mod sweep;
mod tickets;
mod world;

/// `booking` owns the schema.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../booking/migrations");
