//! A container in the network namespace of another one: what it reaches, the other reaches.

use anyhow::{Context, ensure};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
};

use super::project::{ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL};
use super::twin::TWIN;
use super::{Container, Project};

/// How long it lasts where nobody removes it, in seconds.
const LASTS: &str = "600";

/// Prints which of the addresses in its arguments take a connection. The first argument is how many
/// seconds each has.
const REACH: &str = r#"
import asyncio, sys

async def reach(target):
    host, port = target.rsplit(":", 1)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), float(sys.argv[1]))
    except (OSError, asyncio.TimeoutError):
        return
    writer.close()
    print(target)

async def main():
    await asyncio.gather(*(reach(target) for target in sys.argv[2:]))

asyncio.run(main())
"#;

/// A container beside another one. It counts as a twin, so healing removes it.
#[derive(Clone, Debug)]
pub struct Beside(Container);

impl Project {
    /// Starts a container of the image that this process runs in, in the network namespace of
    /// `original`.
    ///
    /// # Errors
    /// The engine refuses, or does not know this process's container.
    pub async fn beside(&self, original: &Container) -> anyhow::Result<Beside> {
        let engine = &original.engine;
        let own = std::fs::read_to_string("/etc/hostname")?;
        let own = engine
            .inspect_container(own.trim(), None::<InspectContainerOptions>)
            .await
            .context("the container of this process")?;
        let labels = [
            (PROJECT_LABEL, self.name()),
            (SERVICE_LABEL, TWIN),
            (ONE_OFF_LABEL, "False"),
        ];
        let body = ContainerCreateBody {
            image: own.image,
            entrypoint: Some(vec!["sleep".to_owned()]),
            cmd: Some(vec![LASTS.to_owned()]),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            host_config: Some(HostConfig {
                network_mode: Some(format!("container:{}", original.id)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = engine
            .create_container(None::<CreateContainerOptions>, body)
            .await?;
        engine
            .start_container(&created.id, None::<StartContainerOptions>)
            .await?;
        Ok(Beside(Container {
            engine: engine.clone(),
            project: self.name().to_owned(),
            id: created.id,
            service: TWIN.to_owned(),
            number: 1,
        }))
    }
}

impl Beside {
    /// The TCP ports that somebody listens on here, other than on the loopback address.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn listening(&self) -> anyhow::Result<Vec<u16>> {
        let tables = ["cat", "/proc/net/tcp", "/proc/net/tcp6"];
        let printed = self.0.run(&tables).await?;
        ensure!(printed.exit_code == 0, "{}", printed.text);
        Ok(listening(&printed.text))
    }

    /// Those of these addresses (`host:port`) that take a connection from here within `seconds`.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn reaches(&self, targets: &[String], seconds: u32) -> anyhow::Result<Vec<String>> {
        let seconds = seconds.to_string();
        let mut command = vec!["python3", "-c", REACH, &seconds];
        command.extend(targets.iter().map(String::as_str));
        let printed = self.0.run(&command).await?;
        ensure!(printed.exit_code == 0, "{}", printed.text);
        Ok(printed.text.lines().map(str::to_owned).collect())
    }

    /// Removes it.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn remove(&self) -> anyhow::Result<()> {
        self.0.remove().await
    }
}

/// The listening ports of `/proc/net/tcp` and `/proc/net/tcp6`, where addresses are hexadecimal
/// words of 32 bits, each with its first byte last.
fn listening(tables: &str) -> Vec<u16> {
    const LISTENING: &str = "0A";
    let is_loopback = |address: &str| {
        let is_v4_loopback = |word: &str| word.ends_with("7F");
        match address.len() {
            8 => is_v4_loopback(address),
            _ => {
                address == "00000000000000000000000001000000"
                    || address
                        .strip_prefix("0000000000000000FFFF0000")
                        .is_some_and(is_v4_loopback)
            }
        }
    };
    let mut ports: Vec<u16> = tables
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (address, port) = words.next()?.split_once(':')?;
            let state = words.nth(1)?;
            let port = u16::from_str_radix(port, 16).ok()?;
            (state == LISTENING && !is_loopback(address)).then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_others_may_reach_are_found() {
        let tables = "\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000
   1: 0B00007F:A1B2 00000000:0000 0A 00000000:00000000
   2: 0B00530A:2328 0200530A:C350 01 00000000:00000000
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A
   2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A
   3: 0000000000000000FFFF00000B00530A:0052 00000000000000000000000000000000:0000 0A
";
        assert_eq!(listening(tables), [82, 8080, 9000]);
    }
}
