//! Consumers on a real queue. `SQS_ENDPOINT` says where SQS is.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod fifo;
mod safety;
mod sending;
mod stand;
mod stopping;
