//! What Patroni says on each node of Postgres, asked at the node's own address.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use faults::Target;
use futures_util::future::{select_all, try_join_all};
use serde_json::Value;

use crate::deadline::generous;
use crate::stack::{Stack, eventually};

/// How long a node may take to answer.
const ANSWER: Duration = generous(Duration::from_secs(1));

/// How often a node is asked whether it was promoted: by so much earlier it may have been.
const EVERY: Duration = Duration::from_millis(50);

/// How often it is looked that nobody else leads. Who was promoted stays so, and is seen late too.
const WATCHED_EVERY: Duration = Duration::from_millis(500);

/// How long a node may take to say that it leads, where one does.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// A node of Postgres.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its service.
    pub service: String,
    http: reqwest::Client,
    address: String,
}

/// Who leads, and the timeline that it writes: another one begins with each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub service: String,
    pub timeline: i64,
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
    timeline: Option<i64>,
}

/// All nodes, which must run.
pub async fn nodes(stack: &Stack) -> anyhow::Result<Vec<Node>> {
    let services = Target::PostgresPrimary.services();
    try_join_all(services.iter().map(|service| node(stack, service))).await
}

/// The node of this service, which must run.
pub async fn node(stack: &Stack, service: &str) -> anyhow::Result<Node> {
    let container = stack.project.one(service).await?;
    let address = container.state().await?.address;
    Ok(Node {
        address: address.with_context(|| format!("{service} has no address"))?,
        service: container.service,
        http: stack.door.http().clone(),
    })
}

/// Who of them leads.
pub async fn leader(nodes: &[Node]) -> anyhow::Result<Leader> {
    eventually(SAID_WITHIN, "a node of Postgres leads", async || {
        for node in nodes {
            if let Ok(said) = node.ask().await
                && said.leads
                && said.is_primary
                && let Some(timeline) = said.timeline
            {
                let service = node.service.clone();
                return Ok(Some(Leader { service, timeline }));
            }
        }
        Ok(None)
    })
    .await
}

/// Waits until one of these nodes leads and takes commits. `bound` is what is documented; the deadline
/// is generous.
pub async fn promotion(nodes: &[Node], bound: Duration) -> anyhow::Result<Promotion> {
    let watched = nodes.iter().map(|node| Box::pin(node.promotion(bound)));
    select_all(watched).await.0
}

/// Watches for so long that this leader goes on, on its timeline, and that nobody else leads.
pub async fn goes_on(leader: &Leader, nodes: &[Node], time: Duration) -> anyhow::Result<()> {
    try_join_all(nodes.iter().map(|node| node.stays_with(leader, time))).await?;
    let now = self::leader(nodes).await?;
    ensure!(now == *leader, "{now:?} after {leader:?}");
    Ok(())
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
            timeline: body["timeline"].as_i64(),
        })
    }

    async fn promotion(&self, bound: Duration) -> anyhow::Result<Promotion> {
        let (began, deadline, mut led) = (Instant::now(), generous(bound), None);
        while began.elapsed() < deadline {
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
        bail!("{} did not take commits within {deadline:?}", self.service)
    }

    async fn stays_with(&self, leader: &Leader, time: Duration) -> anyhow::Result<()> {
        let (began, mut heard) = (Instant::now(), 0);
        // A node of a busy machine may answer late: it is watched until it has said something.
        while began.elapsed() < time || (heard == 0 && began.elapsed() < generous(time)) {
            if let Ok(said) = self.ask().await {
                heard += 1;
                let is_right = if self.service == leader.service {
                    said.timeline.is_none_or(|now| now == leader.timeline)
                } else {
                    !said.leads && !said.is_primary
                };
                ensure!(
                    is_right,
                    "{} says {said:?}, and {leader:?} led",
                    self.service
                );
            }
            tokio::time::sleep(WATCHED_EVERY).await;
        }
        ensure!(
            heard > 0,
            "{} said nothing for {:?}",
            self.service,
            began.elapsed()
        );
        Ok(())
    }
}
