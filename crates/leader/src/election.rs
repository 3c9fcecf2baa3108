//! The election: campaign, mint, read again, lead, resign, and again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backoff::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::members::{Error, Members};
use crate::metrics;
use crate::observer::Observer;
use crate::renewal;
use crate::right::{self, Right};
use crate::seat::{self, Leader, Seat};
use crate::term::{End, Term};

/// How long a resigning leader keeps its seat so that its work may return first. Afterwards the
/// seat is given back although work is in flight; the token decides about its last write.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(500);

/// How long work in flight may go on after the term ended before it is dropped.
const RETURN_WITHIN: Duration = Duration::from_secs(30);

/// The same after a stop was asked for.
const RETURN_WITHIN_STOP: Duration = Duration::from_secs(6);

/// How long to wait after an attempt to be elected, and at most after many that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A candidate in an election.
#[derive(Debug)]
pub struct Election {
    members: Arc<Members>,
    key: String,
    candidate: String,
    lease: Duration,
    seat: watch::Receiver<Seat>,
    leader: watch::Receiver<Option<Leader>>,
    _observer: AbortOnDropHandle<()>,
}

/// A seat that was taken.
struct Holding {
    lease: i64,
    create_revision: i64,
    /// When the request for the lease was sent.
    sent: Instant,
    /// How long each answered renewal lets us act.
    span: Duration,
}

impl Election {
    /// Enters `candidate` in the election called `election` and begins to watch who leads. Nobody
    /// is asked for a vote before [`Election::run`]. etcd need not be there yet.
    ///
    /// etcd keeps no lease shorter than about 2 s and counts in whole seconds; the right to act
    /// ends by `lease` all the same.
    ///
    /// # Errors
    /// No endpoint, or one that is no URL.
    pub async fn connect(
        endpoints: &[String],
        election: &'static str,
        candidate: String,
        lease: Duration,
    ) -> Result<Self, Error> {
        metrics::register(&candidate);
        let limit = renewal::every(lease);
        let members = Arc::new(Members::new(endpoints, limit).await?);
        let (seat_shown, seat) = watch::channel(Seat::Unknown);
        let (leader_shown, leader) = watch::channel(None);
        let observer = Observer {
            members: members.clone(),
            key: seat::key(election),
            read_every: limit,
            forget_after: lease,
            seat: seat_shown,
            leader: leader_shown,
        };
        let observer = AbortOnDropHandle::new(tokio::spawn(observer.run()));
        let key = seat::key(election);
        Ok(Self {
            members,
            key,
            candidate,
            lease,
            seat,
            leader,
            _observer: observer,
        })
    }

    /// Who leads, as etcd says: `None` while nobody does or etcd has been silent for a lease.
    #[must_use]
    pub fn observed(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }

    /// Stands in the election until `stop`. For each term `mint` makes a token that is greater
    /// than all before it, given the candidate's name, and `lead` does the leader's work with the
    /// [`Term`] until that has ended.
    ///
    /// After `stop` it returns when the work has returned and the seat is given back, at most
    /// some seconds later.
    ///
    /// # Errors
    /// None so far: whatever fails is logged and tried again.
    pub async fn run<M, MF, L, LF>(
        &self,
        stop: CancellationToken,
        mint: M,
        lead: L,
    ) -> anyhow::Result<()>
    where
        M: Fn(String) -> MF,
        MF: Future<Output = anyhow::Result<i64>>,
        L: Fn(Term) -> LF,
        LF: Future<Output = ()>,
    {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut last_token = None;
        while !stop.is_cancelled() {
            match self.attempt(&stop, &mint, &lead, &mut last_token).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "not elected: trying again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Waits until the seat is free, tries to take it, and leads if that went well. It went well
    /// also if somebody else was faster.
    async fn attempt<M, MF, L, LF>(
        &self,
        stop: &CancellationToken,
        mint: &M,
        lead: &L,
        last_token: &mut Option<i64>,
    ) -> anyhow::Result<()>
    where
        M: Fn(String) -> MF,
        MF: Future<Output = anyhow::Result<i64>>,
        L: Fn(Term) -> LF,
        LF: Future<Output = ()>,
    {
        let mut seat = self.seat.clone();
        tokio::select! {
            vacant = seat.wait_for(|seat| matches!(seat, Seat::Vacant { .. })) => { vacant?; }
            () = stop.cancelled() => return Ok(()),
        }
        let sent = Instant::now();
        let seconds = i64::try_from(self.lease.as_millis().div_ceil(1000))?;
        let granted = tokio::select! {
            granted = self.members.call(async |client| client.lease_client().grant(seconds, None).await) => granted?,
            () = stop.cancelled() => return Ok(()),
        };
        let span = right::span(self.lease, Duration::from_secs(granted.ttl().try_into()?));
        let lease = granted.id();
        let elected = tokio::select! {
            elected = self.take_seat(lease, sent, span, mint, last_token) => elected,
            () = stop.cancelled() => Ok(None),
        };
        // Whether or not the seat was taken (its answer may be lost): no lease is left behind.
        match elected {
            Ok(Some((term, holding))) => {
                self.serve(stop, &term, &holding, Box::pin(lead(term.clone())))
                    .await;
                Ok(())
            }
            Ok(None) => {
                self.give_back(lease).await;
                Ok(())
            }
            Err(error) => {
                self.give_back(lease).await;
                Err(error)
            }
        }
    }

    /// Takes the seat, mints the token, and reads the seat again.
    async fn take_seat<M, MF>(
        &self,
        lease: i64,
        sent: Instant,
        span: Duration,
        mint: &M,
        last_token: &mut Option<i64>,
    ) -> anyhow::Result<Option<(Term, Holding)>>
    where
        M: Fn(String) -> MF,
        MF: Future<Output = anyhow::Result<i64>>,
    {
        let taken = self
            .members
            .call(|client| seat::take(client, &self.key, lease, &self.candidate))
            .await?;
        let Some(create_revision) = taken else {
            return Ok(None);
        };
        let token = timeout(self.lease / 2, mint(self.candidate.clone()))
            .await
            .context("the fencing token was not minted in time")?
            .context("the fencing token was not minted")?;
        anyhow::ensure!(
            last_token.is_none_or(|last| token > last),
            "fencing token {token} is not greater than our last one"
        );
        *last_token = Some(token);
        let since = chrono::Utc::now();
        let leader = Leader {
            name: self.candidate.clone(),
            token,
            since,
        };
        let announced = self
            .members
            .call(|client| seat::announce(client, &self.key, create_revision, lease, &leader))
            .await?;
        if !announced {
            return Ok(None);
        }
        let term = Term::begin(token, Right::from_renewal(sent, span));
        Ok(Some((
            term,
            Holding {
                lease,
                create_revision,
                sent,
                span,
            },
        )))
    }

    /// Leads a term: renews it beside the work, gives the seat back when it has ended, and waits
    /// for work in flight.
    async fn serve<LF>(
        &self,
        stop: &CancellationToken,
        term: &Term,
        holding: &Holding,
        mut work: Pin<Box<LF>>,
    ) where
        LF: Future<Output = ()>,
    {
        let token = term.token();
        metrics::TRANSITIONS.with_label_values(&["elected"]).inc();
        metrics::FENCE_TOKEN.set(token);
        metrics::IS_LEADING.set(1);
        tracing::info!(
            leader.token = token,
            leader.name = self.candidate,
            "elected"
        );
        // Tasks of their own, so that work which keeps this one busy does not starve them.
        let renewing = AbortOnDropHandle::new(tokio::spawn(renewal::run(
            self.members.clone(),
            term.clone(),
            holding.lease,
            holding.sent,
            holding.span,
            renewal::every(self.lease),
        )));
        let losing = AbortOnDropHandle::new(tokio::spawn(watch_for_loss(
            self.seat.clone(),
            term.clone(),
            holding.create_revision,
        )));
        let mut returned = tokio::select! {
            () = &mut work => { term.finish(End::Resigned); true }
            () = term.ended() => false,
            () = stop.cancelled() => { term.finish(End::Resigned); false }
        };
        drop((renewing, losing));
        let end = term.end().unwrap_or(End::Lost);
        metrics::IS_LEADING.set(0);
        metrics::TRANSITIONS
            .with_label_values(&[end.as_str()])
            .inc();
        tracing::info!(
            leader.token = token,
            leader.end = end.as_str(),
            "the term has ended"
        );
        if end == End::Resigned && !returned {
            returned = timeout(HAND_OVER_WITHIN, &mut work).await.is_ok();
        }
        let giving_back = self.give_back(holding.lease);
        if returned {
            giving_back.await;
        } else {
            // Work in flight goes on meanwhile.
            let late = async {
                tokio::select! {
                    () = &mut work => true,
                    () = tokio::time::sleep(RETURN_WITHIN) => false,
                    () = late_after(stop) => false,
                }
            };
            ((), returned) = tokio::join!(giving_back, late);
        }
        if !returned {
            tracing::error!(
                leader.token = token,
                "work of an ended term did not return: dropped"
            );
        }
    }

    /// Gives the seat back by revoking its lease, which deletes the key with it. If no member
    /// answers, the lease expires by itself.
    async fn give_back(&self, lease: i64) {
        for _ in 0..self.members.count() {
            match self
                .members
                .call(async |client| client.lease_client().revoke(lease).await)
                .await
            {
                Ok(_) => return,
                Err(error) if error.lease_is_gone() => return,
                Err(error) => tracing::debug!(%error, "the seat could not be given back yet"),
            }
        }
        tracing::warn!("the seat could not be given back: it is free when its lease expires");
    }
}

/// Ends the term when the seat is seen free or held by another.
async fn watch_for_loss(mut seat: watch::Receiver<Seat>, term: Term, mine: i64) {
    if seat.wait_for(|seat| seat.is_lost_by(mine)).await.is_ok() {
        tracing::warn!(leader.token = term.token(), "the seat is not ours any more");
        term.finish(End::Lost);
    }
}

async fn late_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(RETURN_WITHIN_STOP).await;
}
