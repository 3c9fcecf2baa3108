//! Watches the seat, for candidates that wait for it, for the leader that may have lost it, and
//! for whoever wants to know who leads.
//!
//! A watch tells of changes at once, and a read each second finds out when the watch has silently
//! died or the member behind it hangs. Whatever fails, it begins again at the next member; it
//! ends only when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::WatchOptions;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::members::{Error, Member, Members};
use crate::seat::{self, Leader, Seat};

pub(crate) struct Observer {
    pub(crate) members: Arc<Members>,
    pub(crate) key: String,
    /// How often the seat is read although the watch is silent.
    pub(crate) read_every: Duration,
    /// After how long without an answer nothing is known any more.
    pub(crate) forget_after: Duration,
    pub(crate) seat: watch::Sender<Seat>,
    pub(crate) leader: watch::Sender<Option<Leader>>,
}

impl Observer {
    pub(crate) async fn run(self) {
        let mut answered = Instant::now();
        let mut silent = false;
        loop {
            let before = answered;
            if let Err(error) = self.follow(&mut answered).await {
                if answered.elapsed() > self.forget_after {
                    self.show(Seat::Unknown);
                }
                if !silent {
                    tracing::warn!(%error, "who leads cannot be watched; trying again");
                }
            }
            silent = answered == before;
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..150))).await;
        }
    }

    /// Follows the seat through one member until something fails.
    async fn follow(&self, answered: &mut Instant) -> Result<(), Error> {
        let member = self.members.member().await?;
        let seat = self.read(&member).await?;
        *answered = Instant::now();
        let next = 1 + match seat {
            Seat::Vacant { revision } | Seat::Taken { revision, .. } => revision,
            Seat::Unknown => 0,
        };
        self.show(seat);
        let options = WatchOptions::new().with_start_revision(next);
        let mut changes = member
            .call(async |client| {
                client
                    .watch_client()
                    .watch(self.key.as_str(), Some(options))
                    .await
            })
            .await?;
        loop {
            match tokio::time::timeout(self.read_every, changes.message()).await {
                Err(_) => {}
                Ok(Ok(Some(change))) if !change.canceled() => {}
                // Cancelled, ended or broken: begin again, at another member if this one fails.
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(source)) => {
                    member.failed();
                    return Err(Error::Etcd {
                        member: member.url(),
                        source: Box::new(source),
                    });
                }
            }
            let seat = self.read(&member).await?;
            *answered = Instant::now();
            self.show(seat);
        }
    }

    async fn read(&self, member: &Member<'_>) -> Result<Seat, Error> {
        member.call(|client| seat::read(client, &self.key)).await
    }

    fn show(&self, seat: Seat) {
        let leader = match &seat {
            Seat::Taken { leader, .. } => leader.clone(),
            Seat::Unknown | Seat::Vacant { .. } => None,
        };
        self.seat.send_replace(seat);
        self.leader.send_if_modified(|shown| {
            let changed = *shown != leader;
            *shown = leader;
            changed
        });
    }
}
