//! One leader among several processes: elected through etcd, fenced by a token.
//!
//! What this promises: of all processes that run an [`Election`] of one name, at most one believes
//! at any moment that it may act, as long as their clocks run at about the same rate and etcd
//! keeps its data. What it cannot promise: that nothing a former leader began takes effect later, because a process may
//! be paused between asking "may I?" and writing. Against that stands the fencing token, which
//! grows with each term; whoever stores an effect checks it in the same transaction and refuses
//! an older one.
//!
//! A term comes about in this order: the seat (one key with a lease) is taken in etcd, a token is
//! minted where the effects are stored, the seat is read again and the name of its holder put on
//! it in one etcd transaction, and only then the [`Term`] begins. Thus a token that was minted
//! while the seat was lost is never led with, and tokens grow even if etcd's data is wiped.
//!
//! The right to act is counted on the leader's own monotonic clock from the moment when the last
//! *answered* renewal was *sent*: etcd counts from when it arrived, which is later, so the right
//! ends here before the seat is free there. A [`Term`] that ended never comes to life again.
//!
//! The seat is a plain key guarded by etcd transactions, not etcd's own election service: its
//! `Campaign` call is answered even when the caller's key has meanwhile expired, and it blocks
//! without limit on one member. Here each call is short, has a time limit, and goes to the next
//! member if it was not answered; a paused member costs half a limit.
//!
//! What it leaves to others: minting the token, storing and checking it, and returning soon from
//! the work once the term has ended. Work in flight is not cancelled when the term ends; the
//! token decides about its last write.
//!
//! Sources: C. Gray and D. Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for
//! Distributed File Cache Consistency" (SOSP 1989), for leases and the clocks they need;
//! M. Burrows, "The Chubby lock service for loosely-coupled distributed systems" (OSDI 2006), for
//! sequencers, here called fencing tokens; etcd's manual, "etcd API guarantees" and "Lease".

mod election;
mod members;
mod metrics;
mod observer;
mod renewal;
mod right;
mod seat;
mod term;

pub use election::Election;
pub use members::Error;
pub use seat::Leader;
pub use term::Term;
