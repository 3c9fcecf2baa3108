//! Elections on a real etcd. `ETCD_ENDPOINTS` names its members.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod faults;
mod stand;
mod terms;
mod wire;
