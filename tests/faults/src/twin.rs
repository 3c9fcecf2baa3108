//! A twin: one more container of a service's image, with some settings changed, beside the ones
//! that compose made. It belongs to the project, so healing removes it; it shares no data with its
//! original, because it gets only those of its volumes that are read-only.

use anyhow::Context;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};

use super::project::{ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL};
use super::{Container, Project};

/// The service that twins count as.
pub(super) const TWIN: &str = "twin";

impl Project {
    /// Starts a twin of `original`, on the same networks, whose environment has these variables
    /// instead. It answers to no service's name.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn twin_of(
        &self,
        original: &Container,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Container> {
        let places = original.places().await?;
        let networks: Vec<_> = places
            .iter()
            .map(|place| (place.network.as_str(), None))
            .collect();
        self.twin_in(original, variables, &networks).await
    }

    /// The same in these networks, each with the name that the twin has there.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn twin_in(
        &self,
        original: &Container,
        variables: &[(&str, &str)],
        networks: &[(&str, Option<&str>)],
    ) -> anyhow::Result<Container> {
        let [(first, name), others @ ..] = networks else {
            anyhow::bail!("a twin is in no network");
        };
        let engine = &original.engine;
        let inspected = engine
            .inspect_container(&original.id, None::<InspectContainerOptions>)
            .await?;
        let config = inspected
            .config
            .context("a container without a configuration")?;
        let host = inspected.host_config.unwrap_or_default();
        let mut environment = config.env.unwrap_or_default();
        environment.retain(|line| {
            let name = line.split('=').next().unwrap_or_default();
            !variables.iter().any(|(changed, _)| *changed == name)
        });
        environment.extend(
            variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        let labels = [
            (PROJECT_LABEL, self.name()),
            (SERVICE_LABEL, TWIN),
            (ONE_OFF_LABEL, "False"),
        ];
        let body = ContainerCreateBody {
            image: config.image,
            user: config.user,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: Some(environment),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            host_config: Some(HostConfig {
                binds: Some(read_only(host.binds.unwrap_or_default())),
                mounts: host.mounts.map(|mut mounts| {
                    mounts.retain(|mount| mount.read_only == Some(true));
                    mounts
                }),
                memory: host.memory,
                readonly_rootfs: host.readonly_rootfs,
                cap_drop: host.cap_drop,
                security_opt: host.security_opt,
                tmpfs: host.tmpfs,
                dns_options: host.dns_options,
                network_mode: Some((*first).to_owned()),
                ..Default::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some([((*first).to_owned(), endpoint(*name))].into()),
            }),
            ..Default::default()
        };
        let created = engine
            .create_container(None::<CreateContainerOptions>, body)
            .await?;
        for (network, name) in others {
            let request = NetworkConnectRequest {
                container: created.id.clone(),
                endpoint_config: Some(endpoint(*name)),
            };
            engine.connect_network(network, request).await?;
        }
        engine
            .start_container(&created.id, None::<StartContainerOptions>)
            .await?;
        Ok(Container {
            engine: engine.clone(),
            project: self.name().to_owned(),
            id: created.id,
            service: TWIN.to_owned(),
            number: 1,
        })
    }
}

fn endpoint(name: Option<&str>) -> EndpointSettings {
    EndpointSettings {
        aliases: name.map(|name| vec![name.to_owned()]),
        ..Default::default()
    }
}

/// Those of the mounts (`source:target:options`) that nobody can write to.
fn read_only(mut binds: Vec<String>) -> Vec<String> {
    binds.retain(|bind| {
        let options = bind.split(':').nth(2).unwrap_or_default();
        options.split(',').any(|option| option == "ro")
    });
    binds
}

impl Container {
    /// Kills and removes a twin; any other container is left alone.
    ///
    /// # Errors
    /// It is not a twin of the project, or the engine refuses.
    pub async fn remove(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.service == TWIN,
            "{} is no twin: it is left alone",
            self.name()
        );
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let id = self.own().await?;
        self.engine
            .remove_container(id, Some(options))
            .await
            .with_context(|| self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_shares_no_data_with_its_original() {
        let binds = [
            "secrets:/run/secrets:ro",
            "data:/data",
            "data:/more:rw",
            "./a:/b:ro,z",
        ];
        let kept = read_only(binds.map(str::to_owned).to_vec());
        assert_eq!(kept, ["secrets:/run/secrets:ro", "./a:/b:ro,z"]);
    }
}
