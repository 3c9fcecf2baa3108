//! What Patroni says on each node of Postgres, asked at the node's own address.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::select_all;
use serde_json::Value;
use tests::faults::Target;

use crate::stack::Stack;

/// How long a node may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// How often a node is asked whether it was promoted: by so much earlier it may have been.
const EVERY: Duration = Duration::from_millis(50);

/// A node of Postgres.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its service.
    pub service: String,
    http: reqwest::Client,
    address: String,
}

/// When a node took the place of a primary that was lost.
#[derive(Clone, Copy, Debug)]
pub struct Promotion {
    /// Patroni answers 200 to `/primary`: the node has the lock in etcd, and HAProxy leads to it
    /// from the next check on. Postgres is only now told to end its recovery.
    pub led: Instant,
    /// Postgres takes writes, and a standby follows it that commits may rest on: not before both
    /// is so is any commit acknowledged.
    pub commits: Instant,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
struct Said {
    leads: bool,
    is_primary: bool,
    is_followed: bool,
}

/// All nodes, which must run.
pub async fn nodes(stack: &Stack) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for service in Target::PostgresPrimary.services() {
        let container = stack.project.one(service).await?;
        let address = container.state().await?.address;
        nodes.push(Node {
            address: address.with_context(|| format!("{service} has no address"))?,
            service: container.service,
            http: stack.door.http().clone(),
        });
    }
    Ok(nodes)
}

/// Waits until one of these nodes leads and takes commits.
pub async fn promotion(nodes: &[Node], bound: Duration) -> anyhow::Result<Promotion> {
    let watched = nodes.iter().map(|node| Box::pin(node.promotion(bound)));
    select_all(watched).await.0
}

impl Node {
    async fn ask(&self) -> anyhow::Result<Said> {
        let address = format!("http://{}:8008/primary", self.address);
        let answer = self.http.get(address).timeout(ANSWER).send().await?;
        let leads = answer.status().is_success();
        let body: Value = answer.json().await?;
        let mut followers = body["replication"].as_array().into_iter().flatten();
        Ok(Said {
            leads,
            is_primary: body["role"] == "primary",
            is_followed: followers.any(|one| one["sync_state"] == "quorum"),
        })
    }

    async fn promotion(&self, bound: Duration) -> anyhow::Result<Promotion> {
        let (began, mut led) = (Instant::now(), None);
        while began.elapsed() < bound {
            let asked = Instant::now();
            if let Ok(said) = self.ask().await
                && said.leads
            {
                let led = *led.get_or_insert(asked);
                if said.is_primary && said.is_followed {
                    let commits = asked;
                    return Ok(Promotion { led, commits });
                }
            }
            tokio::time::sleep(EVERY).await;
        }
        bail!("{} did not take commits within {bound:?}", self.service)
    }
}
