//! Renews a leader's lease.
//!
//! Each renewal is a call of its own with a limit: a keep-alive stream that is held open hangs
//! without an error when its member is paused. While one is not answered the next is sent to
//! another member and both are waited for, because a member that is electing a new leader of etcd
//! answers late, and a paused one never; whichever answers first counts, from when it was sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::members::{Error, Members};
use crate::metrics;
use crate::term::{End, Term};

/// A fifth of the lease: several renewals may fail before the term does.
pub(crate) fn every(lease: Duration) -> Duration {
    lease / 5
}

/// Renews the lease until the term ends. Few renewals are under way: one is begun each
/// half of `every` while none is answered, and given up after twice `every`.
pub(crate) async fn run(
    members: Arc<Members>,
    term: Term,
    lease: i64,
    first_sent: Instant,
    span: Duration,
    every: Duration,
) {
    let mut under_way: JoinSet<(Instant, Result<(), Error>)> = JoinSet::new();
    let mut next = first_sent + every;
    loop {
        tokio::select! {
            () = term.ended() => return,
            () = tokio::time::sleep_until(next) => {
                let (members, sent) = (members.clone(), Instant::now());
                under_way.spawn(async move {
                    let renewed = members.call_within(every * 2, async |client| {
                        client.lease_client().keep_alive(lease).await
                    });
                    (sent, renewed.await.map(|_| ()))
                });
                next = sent + every / 2;
            }
            Some(Ok((sent, answer))) = under_way.join_next() => match answer {
                Ok(()) => {
                    metrics::RENEWAL_SECONDS.observe(sent.elapsed().as_secs_f64());
                    term.renewed(sent, span);
                    next = next.max(sent + every);
                }
                Err(error) if error.lease_is_gone() => {
                    tracing::warn!(leader.token = term.token(), "the lease is gone in etcd");
                    return term.finish(End::Lost);
                }
                Err(error) => {
                    tracing::warn!(leader.token = term.token(), %error, "a renewal failed");
                    next = next.min(Instant::now() + every / 10);
                }
            },
        }
    }
}
