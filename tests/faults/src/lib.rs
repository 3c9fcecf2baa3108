//! Faults, made on real containers through the engine's API.
//!
//! Every action first compares the container's own labels with the project that was named, so a
//! fault never touches a container of another project. Every call has a time-out. The crate leaves
//! it to its callers to heal the project ([`Project::heal`], before and after a fault), and to
//! judge what clients saw.

mod beside;
mod container;
mod fault;
mod inside;
mod project;
mod roles;
mod strike;
mod target;
mod twin;
mod twin_network;

pub use beside::Beside;
pub use container::{Container, State};
pub use fault::{Fault, Kind, name};
pub use inside::Printed;
pub use project::Project;
pub use strike::Made;
pub use target::Target;
pub use twin_network::TwinNetwork;
