//! Scans of tickets at the door.

pub mod admit;
