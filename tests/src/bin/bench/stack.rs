//! The stack that is measured, through the engine's own client.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// No command may take longer.
const BOUND: Duration = Duration::from_secs(180);

/// A compose project.
#[derive(Debug)]
pub struct Stack {
    project: String,
}

impl Stack {
    /// The project named by `BOXOFFICE_PROJECT`.
    ///
    /// # Errors
    /// The setting is missing.
    pub fn from_environment() -> anyhow::Result<Self> {
        Ok(Self {
            project: crate::setting("BOXOFFICE_PROJECT")?,
        })
    }

    /// The project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Ids of a service's running containers; of all services where none is named.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn containers(&self, service: Option<&str>) -> anyhow::Result<Vec<String>> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let mut arguments = vec!["ps", "--quiet", "--no-trunc", "--filter", &project];
        let service = service.map(|name| format!("label=com.docker.compose.service={name}"));
        if let Some(service) = &service {
            arguments.extend(["--filter", service]);
        }
        let ids = docker(&arguments, "").await?;
        Ok(ids.lines().map(str::to_owned).collect())
    }

    /// The address of a container in the stack's network.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn address(&self, container: &str) -> anyhow::Result<String> {
        let network = format!(
            "{{{{(index .NetworkSettings.Networks \"{}_default\").IPAddress}}}}",
            self.project
        );
        docker(&["inspect", "--format", &network, container], "").await
    }

    /// Stops all containers of a service but `keep` of them; gives the stopped ones.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn stop_all_but(&self, keep: usize, service: &str) -> anyhow::Result<Vec<String>> {
        let stopped: Vec<_> = self
            .containers(Some(service))
            .await?
            .into_iter()
            .skip(keep)
            .collect();
        for container in &stopped {
            docker(&["stop", container], "").await?;
        }
        Ok(stopped)
    }

    /// Starts containers again.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn start(&self, containers: &[String]) -> anyhow::Result<()> {
        for container in containers {
            docker(&["start", container], "").await?;
        }
        Ok(())
    }
}

/// Runs the engine's client with `input` and gives what it printed, trimmed.
///
/// # Errors
/// It failed, with what it said, or took longer than the bound.
pub async fn docker(arguments: &[&str], input: &str) -> anyhow::Result<String> {
    run("docker", arguments, input).await
}

/// Runs a program of the toolbox; see [`docker`].
///
/// # Errors
/// As for [`docker`].
pub async fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} could not be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = tokio::time::timeout(BOUND, child.wait_with_output()).await??;
    anyhow::ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
