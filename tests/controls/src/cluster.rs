//! Three Postgres nodes under Patroni with an etcd of their own: twins of the stack's.
//!
//! They stand in two networks. Over one of them the nodes and etcd speak with one another, over the
//! other, the stack's, each node is reached by clients. So a primary can be cut off its like while
//! clients still reach it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use faults::{Container, Project, TwinNetwork};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::scratch::server_on;

/// The nodes' names in their own network.
const NODES: [&str; 3] = ["control-1", "control-2", "control-3"];

/// Until when the nodes are one cluster, from nothing.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Until when a standby leads after the primary was cut off: the lease, with room for a machine
/// that has much to do.
const PROMOTED_WITHIN: Duration = Duration::from_secs(60);

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// When a standby has it, too: as it is deployed.
    Quorum,
    /// When the primary has it.
    Asynchronous,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    container: Container,
    /// Its address for clients.
    pub address: String,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    network: TwinNetwork,
    etcd: Container,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Makes one, and waits until two standbys follow a primary.
    pub async fn start(replication: Replication) -> anyhow::Result<Self> {
        let project = std::env::var("BOXOFFICE_PROJECT").context("BOXOFFICE_PROJECT")?;
        let project = Project::named(&project).await?;
        let network = project.twin_network().await?;
        let etcd = etcd(&project, &network).await?;
        let mut cluster = Self {
            network,
            etcd,
            nodes: Vec::new(),
        };
        let ready = async {
            for name in NODES {
                let node = node(&project, &cluster.network, name).await?;
                cluster.nodes.push(node);
            }
            cluster.replicates(replication).await
        };
        match ready.await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                let logs = cluster.logs().await;
                cluster.end().await?;
                Err(error.context(logs))
            }
        }
    }

    /// Waits until both standbys follow, and commits are acknowledged as they are to be.
    async fn replicates(&self, replication: Replication) -> anyhow::Result<()> {
        let following = "SELECT count(*) >= 2 FROM pg_stat_replication WHERE state = 'streaming'";
        self.until(following).await.context("two standbys follow")?;
        if replication == Replication::Asynchronous {
            let primary = self.primary().await?.context("no primary")?;
            let settings = ["edit-config", "--force", "--quiet", "--set"];
            let command = ["patronictl", "--config-file", "/tmp/patroni"];
            let command = [&command, &settings[..], &["synchronous_mode=off"]].concat();
            let done = primary.container.run(&command).await?;
            ensure!(done.exit_code == 0, "patronictl: {}", done.text);
        }
        let waits = match replication {
            Replication::Quorum => {
                "SELECT current_setting('synchronous_standby_names') LIKE 'ANY 1 (%'"
            }
            Replication::Asynchronous => "SELECT current_setting('synchronous_standby_names') = ''",
        };
        self.until(waits)
            .await
            .with_context(|| format!("{replication:?}"))
    }

    /// Waits until this is so on the primary.
    async fn until(&self, query: &'static str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let asked = async {
                let primary = self.primary().await?.context("no primary")?;
                is_so(&primary, query).await
            };
            match asked.await {
                Ok(true) => return Ok(()),
                other if began.elapsed() > READY_WITHIN => bail!("{query}: {other:?}"),
                _ => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
    }

    /// The node that says that it is the primary, if there is one.
    pub async fn primary(&self) -> anyhow::Result<Option<Node>> {
        for node in &self.nodes {
            if node.leads().await? {
                return Ok(Some(node.clone()));
            }
        }
        Ok(None)
    }

    /// Cuts a node off the others and off etcd. Its clients still reach it.
    pub async fn cut_off(&self, node: &Node) -> anyhow::Result<()> {
        node.container.disconnect_from(&self.network.name).await
    }

    /// Waits until another node than this one is the primary, and takes writes.
    pub async fn promoted_beside(&self, cut_off: &Node) -> anyhow::Result<Node> {
        let began = Instant::now();
        let others = || {
            let nodes = self.nodes.iter();
            nodes.filter(|node| node.address != cut_off.address)
        };
        while began.elapsed() < PROMOTED_WITHIN {
            for node in others() {
                let writable = "SELECT NOT pg_is_in_recovery()";
                if node.leads().await? && is_so(node, writable).await.unwrap_or(false) {
                    return Ok(node.clone());
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("no standby was promoted within {PROMOTED_WITHIN:?}")
    }

    /// The end of what each node logged.
    async fn logs(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let logs = node.container.logs(0).await.unwrap_or_default();
            let end: Vec<_> = logs.lines().rev().take(8).collect();
            let end: Vec<_> = end.into_iter().rev().collect();
            text = format!("{text}--- {}\n{}\n", node.address, end.join("\n"));
        }
        text
    }

    /// Removes it.
    pub async fn end(self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.container.remove().await?;
        }
        self.etcd.remove().await?;
        self.network.remove().await
    }
}

impl Node {
    async fn leads(&self) -> anyhow::Result<bool> {
        let address = format!("http://{}:8008/primary", self.address);
        let answer = client::http_client()?.get(address).send().await;
        Ok(answer.is_ok_and(|answer| answer.status().is_success()))
    }
}

async fn is_so(node: &Node, query: &'static str) -> anyhow::Result<bool> {
    let url = format!("{}/postgres", server_on(&node.address)?);
    let mut database = PgConnection::connect(&url).await?;
    let is_so = sqlx::query_scalar(query).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(is_so)
}

async fn etcd(project: &Project, network: &TwinNetwork) -> anyhow::Result<Container> {
    let variables = [
        ("ETCD_NAME", "control"),
        ("ETCD_INITIAL_CLUSTER", "control=http://127.0.0.1:2380"),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://127.0.0.1:2380"),
        ("ETCD_ADVERTISE_CLIENT_URLS", "http://control-etcd:2379"),
        ("ETCD_INITIAL_CLUSTER_TOKEN", "control"),
    ];
    let networks = [(network.name.as_str(), Some("control-etcd"))];
    let original = project.one("etcd-1").await?;
    project.twin_in(&original, &variables, &networks).await
}

/// A twin of one of the stack's nodes; they differ in nothing but names.
async fn node(project: &Project, network: &TwinNetwork, name: &str) -> anyhow::Result<Node> {
    let (postgres, api) = (format!("{name}:5432"), format!("{name}:8008"));
    let variables = [
        ("PATRONI_NAME", name),
        ("PATRONI_ETCD3_HOSTS", "control-etcd:2379"),
        ("PATRONI_POSTGRESQL_CONNECT_ADDRESS", postgres.as_str()),
        ("PATRONI_RESTAPI_CONNECT_ADDRESS", api.as_str()),
    ];
    let clients = project.network("postgres");
    let networks = [(network.name.as_str(), Some(name)), (&clients, None)];
    let original = project.one("postgres-1").await?;
    let container = project.twin_in(&original, &variables, &networks).await?;
    let address = container.address_in(&clients).await?;
    Ok(Node { container, address })
}
