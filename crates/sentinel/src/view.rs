//! What the sentinels say, and which of them is believed.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};

use crate::connection::connect;
use crate::{Address, Watched};

/// How long a sentinel may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// The nodes as the sentinels know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Grows with each failover: of two that differ, the greater is the newer.
    epoch: u64,
    pub(crate) primary: Address,
    /// The primary and all replicas, dead ones included.
    pub(crate) nodes: BTreeSet<Address>,
}

/// All sentinels.
pub(crate) struct Sentinels {
    name: String,
    password: String,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    address: Address,
    connection: Option<MultiplexedConnection>,
}

impl Sentinels {
    pub(crate) fn of(watched: &Watched<'_>) -> Self {
        let sentinels = watched.sentinels.iter().map(|address| Sentinel {
            address: address.clone(),
            connection: None,
        });
        Self {
            name: watched.name.to_owned(),
            password: watched.password.to_owned(),
            sentinels: sentinels.collect(),
        }
    }

    /// Asks all at once; the view to go by after `known`, or nothing where none answers.
    pub(crate) async fn ask(&mut self, known: Option<&View>) -> Option<View> {
        let (name, password) = (&self.name, &self.password);
        let asked = self.sentinels.iter_mut().map(|sentinel| async move {
            let answer = sentinel.ask(name, password).await;
            if let Err(error) = &answer {
                sentinel.connection = None;
                tracing::debug!(sentinel = %sentinel.address, %error, "a sentinel does not answer");
            }
            answer.ok().flatten()
        });
        let views = join_all(asked).await.into_iter().flatten().collect();
        believed(views, self.sentinels.len(), known)
    }
}

impl Sentinel {
    async fn ask(&mut self, name: &str, password: &str) -> Result<Option<View>, RedisError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.address, password, ANSWER_TIMEOUT).await?),
        };
        let mut ask = redis::pipe();
        for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"] {
            ask.add_command(cmd("SENTINEL").arg(question).arg(name).to_owned());
        }
        let (primary, facts, replicas): Answer = ask.query_async(connection).await?;
        Ok(view(primary, &facts, &replicas))
    }
}

/// The address in force, which during a failover is not the one among the facts; what is known of
/// the primary; and of each replica.
type Answer = (
    Option<(String, u16)>,
    HashMap<String, String>,
    Vec<HashMap<String, String>>,
);

fn view(
    primary: Option<(String, u16)>,
    facts: &HashMap<String, String>,
    replicas: &[HashMap<String, String>],
) -> Option<View> {
    let (host, port) = primary?;
    let address = |facts: &HashMap<String, String>| {
        Some(Address {
            host: facts.get("ip")?.clone(),
            port: facts.get("port")?.parse().ok()?,
        })
    };
    let primary = Address { host, port };
    let known = [facts].into_iter().chain(replicas).filter_map(address);
    Some(View {
        epoch: facts.get("config-epoch")?.parse().ok()?,
        nodes: known.chain([primary.clone()]).collect(),
        primary,
    })
}

/// The newest view, with the nodes that any of them knows. One that is older than what was known
/// is told by a sentinel that missed a failover: it counts only if most of them say nothing newer,
/// which is so where they were all set up anew.
fn believed(views: Vec<View>, sentinels: usize, known: Option<&View>) -> Option<View> {
    let are_most = 2 * views.len() > sentinels;
    let nodes = views.iter().flat_map(|view| view.nodes.clone()).collect();
    let newest = views.into_iter().max_by_key(|view| view.epoch)?;
    if !are_most && known.is_some_and(|known| newest.epoch < known.epoch) {
        return None;
    }
    Some(View { nodes, ..newest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> Address {
        format!("{host}:6379").parse().unwrap()
    }

    fn said(epoch: u64, primary: &str, others: &[&str]) -> View {
        let nodes = others.iter().chain([&primary]).map(|host| address(host));
        View {
            epoch,
            primary: address(primary),
            nodes: nodes.collect(),
        }
    }

    #[test]
    fn the_newest_configuration_is_believed_and_every_node_counts() {
        let views = vec![
            said(3, "a", &["b"]),
            said(4, "b", &["a"]),
            said(3, "a", &["c"]),
        ];
        let view = believed(views, 3, None).unwrap();
        assert_eq!(view.primary, address("b"));
        assert_eq!(view.nodes.len(), 3);
        assert_eq!(believed(Vec::new(), 3, None), None);
    }

    #[test]
    fn one_sentinel_that_missed_a_failover_is_not_believed_and_most_of_them_are() {
        let known = said(4, "b", &["a"]);
        let old = || said(3, "a", &["b"]);
        assert_eq!(believed(vec![old()], 3, Some(&known)), None);
        let anew = believed(vec![old(), old()], 3, Some(&known)).unwrap();
        assert_eq!(anew.primary, address("a"));
    }

    #[test]
    fn during_a_failover_the_address_in_force_is_not_among_the_facts() {
        let facts = |ip: &str| {
            let facts = [("ip", ip), ("port", "6379"), ("config-epoch", "7")];
            facts
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        let view = view(
            Some(("b".to_owned(), 6379)),
            &facts("a"),
            &[facts("b"), facts("c")],
        );
        assert_eq!(view.unwrap(), said(7, "b", &["a", "c"]));
    }
}
