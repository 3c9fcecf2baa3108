//! Reads that need no primary: every node is asked, and all but one have to answer.
//!
//! A confirmed write is on the primary and on a replica of its, so on two nodes. Whichever node is
//! left out, one of the others has it; that holds whoever is the primary, whether the sentinels
//! have noticed yet, and for an old primary that believes to be one still. What a caller may
//! conclude from answers that differ is his own affair.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, cmd};
use tokio::sync::Notify;

use crate::connection::connect;
use crate::{Address, Primary};

/// How long the nodes may take to answer, all together.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);

/// How often each connection is tried, and made where it is missing.
const EVERY: Duration = Duration::from_secs(1);
/// The least between two such rounds, whatever is lost in between.
const AT_LEAST: Duration = Duration::from_millis(20);
/// How soon again while the sentinels have not said yet which nodes there are.
const AT_FIRST: Duration = Duration::from_millis(100);

/// Connections to all nodes, for reading. Clones share them.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Inner>);

struct Inner {
    primary: Primary,
    connections: Mutex<BTreeMap<Address, MultiplexedConnection>>,
    lost: Arc<Notify>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Readers {
    /// Connects to all nodes that the sentinels know beside this primary, in the background. Has
    /// to be called within a Tokio runtime; ends when the last clone is dropped.
    #[must_use]
    pub fn beside(primary: &Primary) -> Self {
        let inner = Arc::new(Inner {
            primary: primary.clone(),
            connections: Mutex::default(),
            lost: Arc::new(Notify::new()),
        });
        tokio::spawn(keep(Arc::downgrade(&inner), inner.lost.clone()));
        Self(inner)
    }

    /// What all nodes but one answer, and `fewest` of them at least; nothing where so many do not
    /// answer in time. It takes no longer than the slowest of those that are needed.
    pub async fn ask<T: FromRedisValue>(&self, ask: &Pipeline, fewest: usize) -> Option<Vec<T>> {
        let known = self.0.primary.inner().view()?.nodes.len();
        let enough = known.saturating_sub(1).max(fewest);
        let connections = self.0.lock().clone();
        if connections.len() < enough {
            return None;
        }
        let asked = connections.into_iter();
        let mut asked: FuturesUnordered<_> = asked
            .map(|(address, connection)| self.0.ask(address, connection, ask))
            .collect();
        let mut answers = Vec::new();
        let collecting = async {
            while let Some(answer) = asked.next().await {
                answers.extend(answer);
                if answers.len() >= enough {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, collecting).await;
        (answers.len() >= enough).then_some(answers)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Address, MultiplexedConnection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        address: Address,
        mut connection: MultiplexedConnection,
        ask: &Pipeline,
    ) -> Option<T> {
        match ask.query_async(&mut connection).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(redis.node = %address, %error, "a node does not answer");
                self.lost.notify_one();
                None
            }
        }
    }

    /// Tries each connection, and makes those that are missing. Each is used as soon as it stands:
    /// in a failover the sentinels close those to all nodes at once, and the dead node is the one
    /// that is slow to be found out.
    async fn renew(&self) {
        let Some(view) = self.primary.inner().view() else {
            return;
        };
        self.lock()
            .retain(|address, _| view.nodes.contains(address));
        let tried = view.nodes.iter().map(|address| async move {
            let held = self.lock().get(address).cloned();
            if let Some(connection) = held
                && answers(connection).await
            {
                return;
            }
            let password = &self.primary.inner().password;
            match connect(address, password, ANSWER_TIMEOUT).await {
                Ok(connection) => self.lock().insert(address.clone(), connection),
                Err(_) => self.lock().remove(address),
            };
        });
        join_all(tried).await;
    }
}

/// Whether somebody answers on a connection.
async fn answers(mut connection: MultiplexedConnection) -> bool {
    cmd("PING").exec_async(&mut connection).await.is_ok()
}

async fn keep(readers: Weak<Inner>, lost: Arc<Notify>) {
    loop {
        let Some(inner) = readers.upgrade() else {
            return;
        };
        inner.renew().await;
        // The nodes are known soon after the start.
        let pause = if inner.lock().is_empty() {
            AT_FIRST
        } else {
            EVERY
        };
        drop(inner);
        tokio::time::sleep(AT_LEAST).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lost.notified() => {}
        }
    }
}
