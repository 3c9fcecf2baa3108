//! The members of the etcd cluster and calls to them, each with a time limit.
//!
//! One member is asked, always the same while it answers. A call that is slow lets the next call
//! go to the next member; one that fails or is not answered in time drops the connection, too. etcd-client
//! could balance over all members by itself, but goes on sending to one that is paused, whose
//! connection looks sound.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};

/// Why etcd could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No member was named.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// A member gave no answer within the limit of a call.
    #[error("etcd member {member} gave no answer within {} ms", .limit.as_millis())]
    NoAnswer {
        /// The member's URL.
        member: String,
        /// How long it had.
        limit: Duration,
    },
    /// A member, or the way to it, failed.
    #[error("etcd member {member}: {source}")]
    Etcd {
        /// The member's URL.
        member: String,
        /// What etcd-client says.
        #[source]
        source: Box<etcd_client::Error>,
    },
}

impl Error {
    /// etcd answered that the lease does not exist (any more).
    pub(crate) fn lease_is_gone(&self) -> bool {
        match self {
            Self::Etcd { source, .. } => answers_that_lease_is_gone(source),
            Self::NoEndpoint | Self::NoAnswer { .. } => false,
        }
    }
}

/// The two shapes of "no such lease": a status where the lease is named in a request, and
/// etcd-client's own error where a keep-alive is answered with a time to live of nothing.
fn answers_that_lease_is_gone(error: &etcd_client::Error) -> bool {
    const NOT_FOUND: i32 = 5;
    match error {
        etcd_client::Error::LeaseKeepAliveError(_) => true,
        etcd_client::Error::GRpcStatus(status) => {
            i32::from(status.code()) == NOT_FOUND && status.message().contains("lease")
        }
        _ => false,
    }
}

#[derive(Debug)]
pub(crate) struct Members {
    urls: Vec<String>,
    /// Index of the member that is asked; counted up without end, taken modulo.
    current: AtomicUsize,
    clients: Mutex<Vec<Option<Connection>>>,
    limit: Duration,
}

#[derive(Clone)]
struct Connection(Arc<Client>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// A connection to one member, and how to say that it failed.
pub(crate) struct Member<'a> {
    members: &'a Members,
    turn: usize,
    pub(crate) client: Arc<Client>,
}

impl Members {
    /// Each call gets `limit`. Nothing is connected yet, but every URL is checked.
    pub(crate) async fn new(urls: &[String], limit: Duration) -> Result<Self, Error> {
        if urls.is_empty() {
            return Err(Error::NoEndpoint);
        }
        let members = Self {
            urls: urls.to_vec(),
            current: AtomicUsize::new(rand::random_range(0..urls.len())),
            clients: Mutex::new(vec![None; urls.len()]),
            limit,
        };
        for url in urls {
            members.open(url).await?;
        }
        Ok(members)
    }

    pub(crate) fn count(&self) -> usize {
        self.urls.len()
    }

    async fn open(&self, url: &str) -> Result<Arc<Client>, Error> {
        // Without `require_leader` a watch on a member that lost the others stays silent for ever.
        let options = ConnectOptions::new()
            .with_connect_timeout(self.limit)
            .with_require_leader(true)
            .with_keep_alive_while_idle(false);
        Box::pin(Client::connect([url], Some(options)))
            .await
            .map(Arc::new)
            .map_err(|source| Error::Etcd {
                member: url.to_owned(),
                source: Box::new(source),
            })
    }

    /// The member whose turn it is.
    pub(crate) async fn member(&self) -> Result<Member<'_>, Error> {
        let turn = self.current.load(Ordering::Relaxed);
        let index = turn % self.urls.len();
        let known = self.clients().get(index).cloned().flatten();
        let client = match known {
            Some(connection) => connection.0,
            None => {
                let client = self.open(&self.urls[index]).await?;
                self.clients()[index] = Some(Connection(client.clone()));
                client
            }
        };
        Ok(Member {
            members: self,
            turn,
            client,
        })
    }

    /// One call to the member whose turn it is. If it fails the next call goes to the next.
    pub(crate) async fn call<T, F, Fut>(&self, call: F) -> Result<T, Error>
    where
        F: FnOnce(Arc<Client>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call_within(self.limit, call).await
    }

    /// The same with a limit of its own.
    pub(crate) async fn call_within<T, F, Fut>(&self, limit: Duration, call: F) -> Result<T, Error>
    where
        F: FnOnce(Arc<Client>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.member().await?.call_within(limit, call).await
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Vec<Option<Connection>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member<'_> {
    /// One call, within the usual limit.
    pub(crate) async fn call<T, F, Fut>(&self, call: F) -> Result<T, Error>
    where
        F: FnOnce(Arc<Client>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call_within(self.members.limit, call).await
    }

    /// One call. When half of the usual limit has passed the turn is given to the next member, so
    /// that calls which begin meanwhile are not held up, but the answer is still waited for.
    async fn call_within<T, F, Fut>(&self, limit: Duration, call: F) -> Result<T, Error>
    where
        F: FnOnce(Arc<Client>) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let patience = self.members.limit / 2;
        let mut call = Box::pin(call(self.client.clone()));
        let answer = tokio::select! {
            answer = &mut call => Some(answer),
            () = tokio::time::sleep(patience) => {
                self.pass_turn();
                tokio::time::timeout(limit.saturating_sub(patience), call).await.ok()
            }
        };
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(source)) => {
                if !answers_that_lease_is_gone(&source) {
                    self.failed();
                }
                Err(Error::Etcd {
                    member: self.url(),
                    source: Box::new(source),
                })
            }
            None => {
                self.failed();
                Err(Error::NoAnswer {
                    member: self.url(),
                    limit,
                })
            }
        }
    }

    fn pass_turn(&self) {
        let next = self.turn.wrapping_add(1);
        // If it fails somebody else has passed the turn already.
        let _ = self.members.current.compare_exchange(
            self.turn,
            next,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Gives the turn to the next member and forgets the connection, which may hang in a way that
    /// only a new one cures.
    pub(crate) fn failed(&self) {
        self.pass_turn();
        let mut clients = self.members.clients();
        let known = &mut clients[self.turn % self.members.urls.len()];
        if known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(&known.0, &self.client))
        {
            *known = None;
        }
    }

    pub(crate) fn url(&self) -> String {
        self.members.urls[self.turn % self.members.urls.len()].clone()
    }
}
