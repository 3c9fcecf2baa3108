//! Queues on SQS: typed messages for competing consumers.
//!
//! [`Queue`] is one queue by its name: send, receive, delete, look at it. [`Consumer`] takes
//! messages off it and gives them to a handler: long poll, a bounded number in hand, order within
//! a FIFO group, a heartbeat that keeps what is in hand invisible to others, deletes in batches.
//!
//! What this promises: a message is deleted only after its handler said [`Outcome::Done`] or
//! [`Outcome::Stale`]; whatever else happens (a failure, a panic, a killed process) it comes
//! again, until the queue's redrive policy moves it to the dead-letter queue. So a handler may see
//! a message more than once and must be idempotent. Messages of one group are handled one after
//! another, and none while an earlier one of those received with it has failed.
//!
//! What it leaves to others: making the queues and their redrive policies, and whatever must
//! outlive the loss of a queue. If a queue is lost and made anew it is found again by its name.
//!
//! A receive counts for every message that it returns, handled or not: the followers of a message
//! that fails again and again reach the limit of the redrive policy together with it. Keep at
//! most one unconfirmed message of a group on the queue where that matters.
//!
//! Source: "Amazon SQS Developer Guide", chapters "Visibility timeout", "FIFO delivery logic" and
//! "Dead-letter queues".

mod client;
mod consumer;
mod deleter;
mod delivery;
mod error;
mod hand;
mod lane;
mod message;
mod metrics;
mod queue;
mod receiver;

pub use client::client;
pub use consumer::Consumer;
pub use delivery::{Delivery, Options, Outcome};
pub use error::Error;
pub use message::{Outgoing, Received, Refused, Sent};
pub use queue::{Counts, Queue};
