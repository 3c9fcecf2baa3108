//! Faults, made on real containers through the engine's API.
//!
//! Promises: nothing outside the one project that was named is ever touched (every action looks at
//! the container's own labels first); every call has a time-out. What it leaves to others: healing
//! (see [`Project::heal`], which a scenario calls before and after) and judging what came of it.

mod container;
mod fault;
mod inside;
mod project;
mod roles;
mod strike;
mod target;
mod twin;
mod twin_network;

pub use container::{Container, State};
pub use fault::{Fault, Kind, name};
pub use inside::Printed;
pub use project::Project;
pub use strike::Made;
pub use target::Target;
pub use twin_network::TwinNetwork;
