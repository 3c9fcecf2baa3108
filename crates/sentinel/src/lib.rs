//! Redis behind Sentinel: connections to whoever is the primary, and reads that need none.
//!
//! Sentinels watch a primary and its replicas, and make a replica the primary when it is gone. A
//! connection does not move by itself: the old primary is dead, or hangs, or is a replica now, or,
//! worst, wakes from a pause and still believes that it is the primary. So:
//!
//! - One task in the background asks all sentinels at once, each second while all is well and ten
//!   times a second while it is not, and believes the newest configuration ([`Primary`]). A
//!   sentinel that is dead costs a quarter of a second there, and no request anything.
//! - A node is used as the primary only after it said itself that it is one (`ROLE`), and no
//!   longer once the sentinels name another: whoever wakes up as an old primary is left within a
//!   second even if nobody asked him anything in between.
//! - The first question that fails as only a lost primary fails (I/O, time-out, `READONLY`,
//!   `LOADING`) sends the primary away. From then on every question fails at once, until the task
//!   has found a primary again; no request ever connects, asks a sentinel, or waits for either.
//! - A write can be confirmed ([`Primary::confirm`]): it is answered after a replica has it too. A
//!   confirmation that is late says that replicas are slow, and not that the primary is lost.
//! - A read can do without a primary ([`Readers`]): every node is asked, and all but one have to
//!   answer. What was confirmed is on two nodes, so one of those who answered has it.
//!
//! # Why not the client's own Sentinel support
//!
//! That of the `redis` crate asks one sentinel after the other and believes the first that
//! answers, so that one which hangs costs every caller its time-out, and one that was away during
//! a failover names the old primary. It connects when it is asked to, not when something is lost.
//! Connections, commands and the meaning of errors are the crate's here too.
//!
//! # What it leaves to others
//!
//! - Which questions may be repeated: a write that failed may have happened.
//! - A process that is cut off from the sentinels but not from an old primary goes on reading
//!   there. Redis refuses its writes then (`min-replicas-to-write`), not its reads.
//! - A node that is gone for good has to be forgotten (`SENTINEL RESET`): [`Readers`] count it.

mod address;
mod connection;
mod follow;
mod metrics;
mod primary;
mod readers;
mod view;

pub use address::{Address, AddressError};
pub use primary::{ANSWER_TIMEOUT, CONFIRMED_TIMEOUT, Primary};
pub use readers::Readers;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no primary for now; nothing was sent.
    #[error("Redis has no primary for now")]
    Away,
    /// Sent, and not answered in time: a write may have happened.
    #[error("Redis did not answer in time")]
    Late,
    /// Written, and not on a replica in time: it may be lost with the primary.
    #[error("no replica of Redis confirmed the write in time")]
    Unconfirmed,
    /// What Redis or the connection said.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

/// Where the sentinels are, and what they call the nodes that they watch.
#[derive(Clone, Debug)]
pub struct Watched<'a> {
    /// All sentinels.
    pub sentinels: &'a [Address],
    /// The name under which they watch the primary.
    pub name: &'a str,
    /// The password of the nodes and of the sentinels.
    pub password: &'a str,
}
