//! The one compose project whose containers may be touched.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::future::try_join_all;

use super::Container;
use super::twin::TWIN;

/// Label with the project's name.
pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";
/// Label with the service's name.
pub(super) const SERVICE_LABEL: &str = "com.docker.compose.service";
/// Label that is `True` on containers that run once.
pub(super) const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";

/// How long the engine may take to answer.
const ENGINE_TIMEOUT: u64 = 30;

/// Between two looks at a container that is not well: a health check takes 100 ms of processor time.
const PAUSE: Duration = Duration::from_secs(1);

/// A compose project on this engine.
#[derive(Clone, Debug)]
pub struct Project {
    engine: Docker,
    name: String,
}

impl Project {
    /// The project called `name`, on the engine behind the local socket.
    ///
    /// # Errors
    /// No name, or no engine.
    pub async fn named(name: &str) -> anyhow::Result<Self> {
        if name.is_empty() {
            bail!("a project must be named: faults are made on no other");
        }
        let engine = Docker::connect_with_unix(
            "/var/run/docker.sock",
            ENGINE_TIMEOUT,
            bollard::API_DEFAULT_VERSION,
        )
        .context("no engine at /var/run/docker.sock")?
        .negotiate_version()
        .await
        .context("the engine does not answer")?;
        Ok(Self {
            engine,
            name: name.to_owned(),
        })
    }

    /// The project's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn engine(&self) -> &Docker {
        &self.engine
    }

    /// The containers of a service, running or not, by number.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn containers(&self, service: &str) -> anyhow::Result<Vec<Container>> {
        let mut all = self
            .list(vec![format!("{SERVICE_LABEL}={service}")])
            .await?;
        all.sort_by_key(|container| container.number);
        Ok(all)
    }

    /// All long-lived containers of the project.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn all(&self) -> anyhow::Result<Vec<Container>> {
        self.list(Vec::new()).await
    }

    /// The first container of a service.
    ///
    /// # Errors
    /// There is none, or the engine does not answer.
    pub async fn one(&self, service: &str) -> anyhow::Result<Container> {
        let containers = self.containers(service).await?;
        containers
            .into_iter()
            .next()
            .with_context(|| format!("{} has no {service}", self.name))
    }

    /// The container with this host name.
    ///
    /// # Errors
    /// There is none, or the engine does not answer.
    pub async fn with_host_name(&self, host_name: &str) -> anyhow::Result<Container> {
        let all = self.all().await?;
        all.into_iter()
            .find(|container| container.host_name() == host_name)
            .with_context(|| format!("{} has no container called {host_name}", self.name))
    }

    async fn list(&self, mut labels: Vec<String>) -> anyhow::Result<Vec<Container>> {
        labels.push(format!("{PROJECT_LABEL}={}", self.name));
        labels.push(format!("{ONE_OFF_LABEL}=False"));
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let summaries = self
            .engine
            .list_containers(Some(options))
            .await
            .context("containers cannot be listed")?;
        Ok(summaries
            .into_iter()
            .filter_map(|summary| {
                let labels = summary.labels?;
                Some(Container {
                    engine: self.engine.clone(),
                    project: self.name.clone(),
                    id: summary.id?,
                    service: labels.get(SERVICE_LABEL)?.clone(),
                    number: labels
                        .get("com.docker.compose.container-number")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or_default(),
                })
            })
            .collect())
    }

    /// What the engine calls one of the project's networks, which `docker-compose.yml` names.
    #[must_use]
    pub fn network(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }

    /// Wakes, starts and reconnects whatever a scenario left behind, and waits until every
    /// container that has a health check is healthy.
    ///
    /// # Errors
    /// Something does not come back within `bound`.
    pub async fn heal(&self, bound: Duration) -> anyhow::Result<()> {
        let left = self.all().await?;
        try_join_all(left.iter().map(async |container| {
            if container.service == TWIN {
                container.remove().await
            } else {
                container.restore().await
            }
        }))
        .await?;
        let deadline = Instant::now() + bound;
        let healed = self.all().await?;
        try_join_all(healed.iter().map(async |container| {
            while !container.is_well().await? {
                if Instant::now() > deadline {
                    let state = container.state().await?;
                    bail!(
                        "{} did not come back within {bound:?}: {state:?}",
                        container.name()
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        }))
        .await?;
        Ok(())
    }
}
