//! The stack that is measured, and this process's own place in its network.

use anyhow::Context;
use bollard::Docker;
use bollard::models::{
    ContainerStatsResponse, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::StatsOptionsBuilder;
use client::Door;
use faults::{Container, Project};
use futures_util::StreamExt;
use sqlx::{Connection, PgConnection};

/// How long the engine may take to answer, in seconds.
const ENGINE_TIMEOUT: u64 = 30;

/// A compose project.
#[derive(Debug)]
pub struct Stack {
    /// Its containers.
    pub project: Project,
    /// Nginx.
    pub door: Door,
    engine: Docker,
}

impl Stack {
    /// The project named by `BOXOFFICE_PROJECT`, with its door at `BOXOFFICE_DOOR`.
    ///
    /// # Errors
    /// A setting is missing, or the engine does not answer.
    pub async fn from_environment() -> anyhow::Result<Self> {
        let engine = Docker::connect_with_unix(
            "/var/run/docker.sock",
            ENGINE_TIMEOUT,
            bollard::API_DEFAULT_VERSION,
        )?;
        Ok(Self {
            project: Project::named(&crate::setting("BOXOFFICE_PROJECT")?).await?,
            door: Door::at(&crate::setting("BOXOFFICE_DOOR")?)?,
            engine: engine.negotiate_version().await?,
        })
    }

    /// The address of the first container of a service.
    ///
    /// # Errors
    /// It does not run.
    pub async fn address(&self, service: &str) -> anyhow::Result<String> {
        let container = self.project.one(service).await?;
        let address = container.state().await?.address;
        address.with_context(|| format!("{} does not run", container.name()))
    }

    /// A connection to `booking`'s database, as its superuser.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn database(&self) -> anyhow::Result<PgConnection> {
        let url = crate::setting("DATABASE_URL")?;
        let (server, _) = url
            .rsplit_once('/')
            .context("DATABASE_URL names no database")?;
        Ok(PgConnection::connect(&format!("{server}/booking")).await?)
    }

    /// Seconds of processors that a container had since it was started.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn processor_seconds(&self, container: &Container) -> anyhow::Result<f64> {
        let stats = self.stats(container).await?;
        let usage = stats.cpu_stats.and_then(|stats| stats.cpu_usage);
        let nanoseconds = usage.and_then(|usage| usage.total_usage);
        Ok(nanoseconds.unwrap_or_default() as f64 / 1e9)
    }

    async fn stats(&self, container: &Container) -> anyhow::Result<ContainerStatsResponse> {
        let once = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let mut answers = Box::pin(self.engine.stats(container.host_name(), Some(once)));
        let answer = answers.next().await.context("the engine counts nothing")?;
        Ok(answer?)
    }

    /// Memory of a container in bytes, file cache left out.
    ///
    /// What the engine's own client shows leaves out the inactive part of the cache alone. Shared
    /// memory is no file cache and counts.
    ///
    /// # Errors
    /// The engine does not answer, or does not say.
    pub async fn memory(&self, container: &Container) -> anyhow::Result<f64> {
        let stats = self.stats(container).await?;
        let memory = stats.memory_stats.unwrap_or_default();
        let counts = memory.stats.unwrap_or_default();
        // By the names of the first version of control groups, whose plain counts leave out what is
        // below the container's own group, or of the second.
        let count = |name: &str| {
            let whole = counts.get(&format!("total_{name}"));
            whole.or_else(|| counts.get(name)).copied()
        };
        let cached = count("active_file")
            .zip(count("inactive_file"))
            .map(|(active, inactive)| active + inactive);
        let (used, cached) = memory
            .usage
            .zip(cached)
            .with_context(|| format!("the engine does not count {}", container.name()))?;
        Ok(used.saturating_sub(cached) as f64)
    }

    /// Size of an image in bytes, base included.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn image_size(&self, image: &str) -> anyhow::Result<f64> {
        let inspected = self.engine.inspect_image(image).await?;
        Ok(inspected.size.context("an image without a size")? as f64)
    }

    /// Leaves the network of the services and joins it again, also under the name of one.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn rejoin_as(&self, service: Option<&str>) -> anyhow::Result<()> {
        let network = self.project.network("services");
        let own = std::fs::read_to_string("/etc/hostname")?;
        let own = own.trim();
        let leave = NetworkDisconnectRequest {
            container: own.to_owned(),
            force: Some(true),
        };
        let join = NetworkConnectRequest {
            container: own.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: service.map(|service| vec![service.to_owned()]),
                ..Default::default()
            }),
        };
        // Not there any more is as good as left.
        let left = self.engine.disconnect_network(&network, leave).await;
        self.engine
            .connect_network(&network, join)
            .await
            .with_context(|| format!("not in {network} again, which was left: {left:?}"))
    }
}
