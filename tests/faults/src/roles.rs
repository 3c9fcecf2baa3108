//! Which container has a role right now. The parts themselves are asked, each at its own address,
//! so that nothing in between can mislead.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use redis::{IntoConnectionInfo, Role};
use serde_json::Value;

use super::{Container, Project, Target};
use client::http_client;

/// How long a role may be vacant, as in the middle of an election, until that is an error.
const VACANT: Duration = Duration::from_secs(30);

/// How long one part may take to say what it is.
const ANSWER: Duration = Duration::from_secs(3);

impl Project {
    /// The roles among `targets` that no container of this project can have, with their services.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn lacks(&self, targets: &[Target]) -> anyhow::Result<Vec<Target>> {
        let all = self.all().await?;
        let there = |service: &str| all.iter().any(|container| container.service == service);
        let lacking = targets.iter().copied();
        Ok(lacking
            .filter(|target| !target.services().iter().all(|service| there(service)))
            .collect())
    }

    /// The containers that have a role now, waiting for one where there is none for a moment.
    ///
    /// # Errors
    /// The stack has no such part, nobody gets the role within a bound, or the engine does not
    /// answer.
    pub async fn holders(&self, target: Target) -> anyhow::Result<Vec<Container>> {
        let candidates = self.candidates(target).await?;
        let began = Instant::now();
        loop {
            let mut holders = Vec::new();
            let mut last = None;
            for candidate in &candidates {
                match has_role(candidate, target).await {
                    Ok(true) => holders.push(candidate.clone()),
                    Ok(false) => {}
                    Err(error) => last = Some(format!("{}: {error:#}", candidate.name())),
                }
            }
            if !holders.is_empty() {
                return Ok(holders);
            }
            if began.elapsed() > VACANT {
                bail!("nobody is {target} for {VACANT:?} (last failure: {last:?})");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The containers to make a fault on: one of those that have the role, or two members of etcd.
    ///
    /// # Errors
    /// As [`Project::holders`].
    pub async fn struck_by(&self, target: Target, which: u32) -> anyhow::Result<Vec<Container>> {
        let holders = self.holders(target).await?;
        let which = usize::try_from(which).unwrap_or_default();
        let count = if target == Target::EtcdPair { 2 } else { 1 };
        let struck = (0..count).map(|next| holders[(which + next) % holders.len()].clone());
        Ok(struck.collect())
    }

    async fn candidates(&self, target: Target) -> anyhow::Result<Vec<Container>> {
        let mut candidates = Vec::new();
        for service in target.services() {
            let containers = self.containers(service).await?;
            if containers.is_empty() {
                bail!(
                    "{} has no {service}, so nobody in it can be {target}",
                    self.name()
                );
            }
            candidates.extend(containers);
        }
        Ok(candidates)
    }
}

impl Container {
    /// Whether Patroni on this node of Postgres says that it leads.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn leads_postgres(&self) -> anyhow::Result<bool> {
        patroni(self, "primary").await
    }
}

async fn has_role(candidate: &Container, target: Target) -> anyhow::Result<bool> {
    match target {
        Target::LeadingWorker => leads(candidate).await,
        Target::PostgresPrimary => patroni(candidate, "primary").await,
        Target::PostgresStandby => patroni(candidate, "replica").await,
        Target::RedisPrimary => {
            let role = redis_role(candidate).await?;
            // One that just came back takes itself for a primary for a moment, with no replica.
            Ok(matches!(role, Role::Primary { replicas, .. } if !replicas.is_empty()))
        }
        Target::RedisReplica => {
            let role = redis_role(candidate).await?;
            Ok(matches!(role, Role::Replica { .. }))
        }
        Target::EtcdLeader => leads_etcd(candidate).await,
        _ => Ok(candidate.state().await?.running),
    }
}

async fn leads(worker: &Container) -> anyhow::Result<bool> {
    let address = format!("http://{}:9000/metrics", address(worker).await?);
    let asked = http_client()?.get(address).timeout(ANSWER).send().await?;
    let metrics = asked.error_for_status()?.text().await?;
    Ok(metrics.lines().any(|line| line == "leader_is_leading 1"))
}

/// Patroni answers 200 to the name of the role that its node has, and 503 to the other.
async fn patroni(node: &Container, role: &str) -> anyhow::Result<bool> {
    let address = format!("http://{}:8008/{role}", address(node).await?);
    let asked = http_client()?.get(address).timeout(ANSWER).send().await?;
    Ok(asked.status().is_success())
}

async fn redis_role(node: &Container) -> anyhow::Result<Role> {
    let file = std::env::var("REDIS_PASSWORD_FILE")
        .unwrap_or_else(|_| "/run/secrets/redis/redis_password".to_owned());
    let password = std::fs::read_to_string(&file)
        .with_context(|| format!("the password of Redis in {file}"))?;
    let address = format!("redis://{}:6379", address(node).await?).into_connection_info()?;
    let settings = address.redis_settings().clone();
    let address = address.set_redis_settings(settings.set_password(password.trim()));
    let asked = async {
        let client = redis::Client::open(address)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("ROLE")
            .query_async::<Role>(&mut connection)
            .await
    };
    let role = tokio::time::timeout(ANSWER, asked).await;
    Ok(role.with_context(|| format!("{} does not say its role", node.name()))??)
}

async fn leads_etcd(member: &Container) -> anyhow::Result<bool> {
    let address = format!(
        "http://{}:2379/v3/maintenance/status",
        address(member).await?
    );
    let asked = http_client()?.post(address).timeout(ANSWER);
    let asked = asked.json(&serde_json::json!({})).send().await?;
    let status: Value = asked.error_for_status()?.json().await?;
    Ok(status["header"]["member_id"] == status["leader"])
}

pub(super) async fn address(container: &Container) -> anyhow::Result<String> {
    let address = container.state().await?.address;
    address.with_context(|| format!("{} has no address", container.name()))
}
