//! One container of the project, and what may be done to it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use bollard::Docker;
use bollard::models::{
    ContainerStateStatusEnum, EndpointIpamConfig, HealthStatusEnum, NetworkConnectRequest,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::future::try_join_all;

use super::project::PROJECT_LABEL;

/// Label with the networks of a container, as its compose file names them, each with the container's
/// address where that is fixed: `services redis=10.83.0.11`. The engine forgets all of it when it
/// takes the container off a network.
const NETWORKS_LABEL: &str = "boxoffice.networks";

/// The nodes whose health depends on their standing among the others.
const CLUSTERED: &str = "postgres-";

/// How long the engine waits for one that says nothing about it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is tried to freeze one.
const FREEZE_TRIES: u32 = 3;

/// A container of the project.
#[derive(Clone, Debug)]
pub struct Container {
    pub(super) engine: Docker,
    pub(super) project: String,
    pub(super) id: String,
    /// The compose service it belongs to.
    pub service: String,
    /// Its number within the service.
    pub number: u32,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Running (and not paused).
    pub running: bool,
    /// Paused.
    pub paused: bool,
    /// Healthy, where it has a health check.
    pub healthy: Option<bool>,
    /// Exit code, once it ended.
    pub exit_code: i64,
    /// How often the engine restarted it because its process ended, since it was started by hand.
    pub restarts: i64,
    /// Whether it is one that runs once and ends.
    pub runs_once: bool,
    /// How long the engine waits for it to stop before it is killed.
    pub stop_timeout: Duration,
    /// An address of it, while it runs: in any of its networks.
    pub address: Option<String>,
    /// The networks that it is on, running or not.
    pub networks: Vec<String>,
}

/// Where a container belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The network, as the engine calls it.
    pub(super) network: String,
    /// The container's address there, where it is fixed.
    address: Option<String>,
}

impl Place {
    /// Reads [`NETWORKS_LABEL`] of a container of this project.
    fn all(label: &str, project: &str) -> Vec<Self> {
        let words = label.split_whitespace();
        words
            .map(|word| {
                let (network, address) = word
                    .split_once('=')
                    .map_or((word, None), |(network, address)| (network, Some(address)));
                Self {
                    network: format!("{project}_{network}"),
                    address: address.map(str::to_owned),
                }
            })
            .collect()
    }
}

impl Container {
    /// Service and number, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }

    /// What the process inside knows as its host name.
    #[must_use]
    pub fn host_name(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// What one of its labels says.
    async fn label(&self, name: &str) -> anyhow::Result<Option<String>> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        let labels = inspected.config.and_then(|config| config.labels);
        Ok(labels.and_then(|mut labels| labels.remove(name)))
    }

    /// Refuses what does not belong to the project, whatever list it came from.
    pub(super) async fn own(&self) -> anyhow::Result<&str> {
        if self.label(PROJECT_LABEL).await?.as_ref() != Some(&self.project) {
            bail!(
                "{} does not belong to {}: it is left alone",
                self.id,
                self.project
            );
        }
        Ok(&self.id)
    }

    /// How it is.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn state(&self) -> anyhow::Result<State> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        let state = inspected.state.context("a container without a state")?;
        let restarts = inspected.restart_count.unwrap_or_default();
        let health = state.health.and_then(|health| health.status);
        let is_restarted = inspected
            .host_config
            .and_then(|host| host.restart_policy)
            .and_then(|policy| policy.name)
            .is_some_and(|name| {
                use bollard::models::RestartPolicyNameEnum as Name;
                matches!(name, Name::ALWAYS | Name::UNLESS_STOPPED)
            });
        let stop_timeout = inspected
            .config
            .and_then(|config| config.stop_timeout)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(STOP_TIMEOUT, Duration::from_secs);
        let networks = inspected
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let address = networks
            .values()
            .filter_map(|network| network.ip_address.clone())
            .find(|address| !address.is_empty());
        Ok(State {
            running: state.status == Some(ContainerStateStatusEnum::RUNNING),
            paused: state.paused == Some(true),
            healthy: match health {
                None | Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) => None,
                Some(status) => Some(status == HealthStatusEnum::HEALTHY),
            },
            exit_code: state.exit_code.unwrap_or_default(),
            restarts,
            runs_once: !is_restarted,
            stop_timeout,
            address,
            networks: networks.into_keys().collect(),
        })
    }

    /// Its addresses, by the networks as the engine calls them.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn addresses(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        let networks = inspected
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        Ok(networks
            .into_iter()
            .filter_map(|(network, endpoint)| Some((network, endpoint.ip_address?)))
            .filter(|(_, address)| !address.is_empty())
            .collect())
    }

    /// Its address in this network, where it is in several.
    ///
    /// # Errors
    /// It is not there, or the engine does not answer.
    pub async fn address_in(&self, network: &str) -> anyhow::Result<String> {
        let address = self.addresses().await?.remove(network);
        address.with_context(|| format!("{} has no address in {network}", self.name()))
    }

    /// All networks that its compose file puts it on.
    pub(super) async fn places(&self) -> anyhow::Result<Vec<Place>> {
        let label = self.label(NETWORKS_LABEL).await?;
        let label =
            label.with_context(|| format!("{} has no label {NETWORKS_LABEL}", self.name()))?;
        Ok(Place::all(&label, &self.project))
    }

    /// Whether nothing has to be waited for. Where the engine has not found it healthy, its health
    /// check is made at once: the engine looks only every 15 or 20 s. So it is for a node of Postgres
    /// that the engine calls healthy: it may have lived through a fault and follow nobody yet.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn is_well(&self) -> anyhow::Result<bool> {
        let state = self.state().await?;
        if state.runs_once || !state.running {
            return Ok(state.runs_once);
        }
        let is_believed = state.healthy != Some(false) && !self.service.starts_with(CLUSTERED);
        Ok(is_believed || self.passes_its_check().await?)
    }

    /// Whether its health check passes now, whatever the engine has found before.
    ///
    /// # Errors
    /// It has none, or the engine does not answer.
    pub async fn passes_its_check(&self) -> anyhow::Result<bool> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        let check = inspected
            .config
            .and_then(|config| config.healthcheck)
            .and_then(|check| check.test)
            .unwrap_or_default();
        let check: Vec<&str> = check.iter().map(String::as_str).collect();
        let command = match check.as_slice() {
            ["CMD", command @ ..] => command.to_vec(),
            ["CMD-SHELL", script] => vec!["sh", "-c", script],
            other => bail!("{} has no health check: {other:?}", self.name()),
        };
        // It may have ended in between.
        Ok(self
            .run(&command)
            .await
            .is_ok_and(|done| done.exit_code == 0))
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let id = self.own().await?;
        self.engine
            .kill_container(id, Some(options))
            .await
            .with_context(|| self.name())
    }

    /// Asks it to stop (SIGTERM) and waits until it ended, at most `bound`; then it is killed.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn stop(&self, bound: Duration) -> anyhow::Result<()> {
        let seconds = i32::try_from(bound.as_secs()).unwrap_or(10);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let id = self.own().await?;
        self.engine
            .stop_container(id, Some(options))
            .await
            .with_context(|| self.name())
    }

    /// Asks it to stop, and kills it where it takes longer than compose gives it.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn stop_as_composed(&self) -> anyhow::Result<()> {
        self.stop(self.state().await?.stop_timeout).await
    }

    /// Starts it.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn start(&self) -> anyhow::Result<()> {
        let id = self.own().await?;
        let options = None::<StartContainerOptions>;
        self.engine
            .start_container(id, options)
            .await
            .with_context(|| self.name())
    }

    /// Freezes it.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn pause(&self) -> anyhow::Result<()> {
        let id = self.own().await?;
        // The kernel cannot freeze a process that is just being made: once more, then.
        let mut tries = 0;
        loop {
            tries += 1;
            match self.engine.pause_container(id).await {
                Err(_) if tries < FREEZE_TRIES => {}
                done => return done.with_context(|| self.name()),
            }
        }
    }

    /// Lets it run on.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn unpause(&self) -> anyhow::Result<()> {
        let id = self.own().await?;
        self.engine
            .unpause_container(id)
            .await
            .with_context(|| self.name())
    }

    /// Freezes it while `meanwhile` runs, whatever comes of that.
    ///
    /// # Errors
    /// It could not be frozen or woken, or what ran failed.
    pub async fn paused<T>(
        &self,
        meanwhile: impl AsyncFnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.pause().await?;
        let done = meanwhile().await;
        self.unpause().await?;
        done
    }

    /// Cuts it off all its networks.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn disconnect(&self) -> anyhow::Result<()> {
        let networks = self.state().await?.networks;
        let cut = networks.iter().map(|network| self.disconnect_from(network));
        try_join_all(cut).await.map(drop)
    }

    /// Cuts it off one network, as the engine calls it.
    ///
    /// # Errors
    /// It is not the project's, or the engine refuses.
    pub async fn disconnect_from(&self, network: &str) -> anyhow::Result<()> {
        let container = self.own().await?.to_owned();
        let request = NetworkDisconnectRequest {
            container,
            force: Some(true),
        };
        self.engine
            .disconnect_network(network, request)
            .await
            .with_context(|| format!("{} off {network}", self.name()))
    }

    /// Puts it back where it belongs, under its service's name and with its address where that is
    /// fixed.
    async fn connect(&self, place: &Place) -> anyhow::Result<()> {
        let container = self.own().await?.to_owned();
        let endpoint = bollard::models::EndpointSettings {
            aliases: Some(vec![self.service.clone()]),
            ipam_config: place.address.clone().map(|address| EndpointIpamConfig {
                ipv4_address: Some(address),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = NetworkConnectRequest {
            container,
            endpoint_config: Some(endpoint),
        };
        self.engine
            .connect_network(&place.network, request)
            .await
            .with_context(|| format!("{} to {}", self.name(), place.network))
    }

    /// Wakes, starts or reconnects it where that is needed.
    pub(super) async fn restore(&self) -> anyhow::Result<()> {
        let state = self.state().await?;
        if state.runs_once {
            return Ok(());
        }
        if state.paused {
            self.unpause().await?;
        }
        // Before it is started: one that was cut off may have ended because of that.
        for place in self.places().await? {
            if !state.networks.contains(&place.network) {
                self.connect(&place).await?;
            }
        }
        if !state.running && !state.paused {
            self.start().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_each_network_and_the_address_that_is_fixed() {
        let place = |network: &str, address: Option<&str>| Place {
            network: network.to_owned(),
            address: address.map(str::to_owned),
        };
        assert_eq!(
            Place::all("services redis=10.83.0.11", "boxoffice"),
            [
                place("boxoffice_services", None),
                place("boxoffice_redis", Some("10.83.0.11")),
            ]
        );
        assert!(Place::all("", "boxoffice").is_empty());
    }
}
