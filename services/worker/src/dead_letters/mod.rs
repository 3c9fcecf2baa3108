//! Dead letters for people and for the leader: looking at them without taking them away, and the
//! command that lists, shows and redrives them.

pub mod command;
pub mod peek;
pub mod strays;

/// How long the command may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
