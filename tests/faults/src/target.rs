//! Whom a fault is made on: a part by its role, found out at the moment of the fault.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role that one container has, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[allow(missing_docs)] // the names say it
pub enum Target {
    LeadingWorker,
    Worker,
    Identity,
    Catalog,
    Booking,
    PostgresPrimary,
    PostgresStandby,
    RedisPrimary,
    RedisReplica,
    Sentinel,
    EtcdLeader,
    EtcdMember,
    /// Two members of etcd at once, so that the third alone is no majority.
    EtcdPair,
    Queue,
    Cache,
    Dynamodb,
    Bank,
    Nginx,
    Haproxy,
}

impl Target {
    /// All roles.
    pub const ALL: [Self; 19] = [
        Self::LeadingWorker,
        Self::Worker,
        Self::Identity,
        Self::Catalog,
        Self::Booking,
        Self::PostgresPrimary,
        Self::PostgresStandby,
        Self::RedisPrimary,
        Self::RedisReplica,
        Self::Sentinel,
        Self::EtcdLeader,
        Self::EtcdMember,
        Self::EtcdPair,
        Self::Queue,
        Self::Cache,
        Self::Dynamodb,
        Self::Bank,
        Self::Nginx,
        Self::Haproxy,
    ];

    /// The name, as it stands in `FAULTS=` and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeadingWorker => "leading-worker",
            Self::Worker => "worker",
            Self::Identity => "identity",
            Self::Catalog => "catalog",
            Self::Booking => "booking",
            Self::PostgresPrimary => "postgres-primary",
            Self::PostgresStandby => "postgres-standby",
            Self::RedisPrimary => "redis-primary",
            Self::RedisReplica => "redis-replica",
            Self::Sentinel => "sentinel",
            Self::EtcdLeader => "etcd-leader",
            Self::EtcdMember => "etcd-member",
            Self::EtcdPair => "two-etcd-members",
            Self::Queue => "queue",
            Self::Cache => "cache",
            Self::Dynamodb => "dynamodb",
            Self::Bank => "bank",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The compose services whose containers can have the role.
    #[must_use]
    pub fn services(self) -> &'static [&'static str] {
        match self {
            Self::LeadingWorker | Self::Worker => &["worker"],
            Self::Identity => &["identity"],
            Self::Catalog => &["catalog"],
            Self::Booking => &["booking"],
            Self::PostgresPrimary | Self::PostgresStandby => {
                &["postgres-1", "postgres-2", "postgres-3"]
            }
            Self::RedisPrimary | Self::RedisReplica => &["redis-1", "redis-2", "redis-3"],
            Self::Sentinel => &["sentinel-1", "sentinel-2", "sentinel-3"],
            Self::EtcdLeader | Self::EtcdMember | Self::EtcdPair => &["etcd-1", "etcd-2", "etcd-3"],
            Self::Queue => &["localstack"],
            Self::Cache => &["cache"],
            Self::Dynamodb => &["dynamodb"],
            Self::Bank => &["bank"],
            Self::Nginx => &["nginx"],
            Self::Haproxy => &["haproxy"],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|target| target.as_str() == text)
            .ok_or_else(|| format!("no role is called {text}"))
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.as_str().to_owned()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_name() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert!("postgres".parse::<Target>().is_err());
    }
}
