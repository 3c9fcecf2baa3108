//! What goes on inside a container: its settings, its log, and commands run in it.

use std::time::Duration;

use anyhow::Context;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use futures_util::StreamExt;

use super::Container;

/// How long a command inside a container may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a command inside a container printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Exit code.
    pub exit_code: i64,
    /// Standard output and error.
    pub text: String,
}

impl Container {
    /// A variable of its environment, as compose set it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn setting(&self, name: &str) -> anyhow::Result<Option<String>> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        let environment = inspected.config.and_then(|config| config.env);
        Ok(environment.unwrap_or_default().iter().find_map(|line| {
            let (set, value) = line.split_once('=')?;
            (set == name).then(|| value.to_owned())
        }))
    }

    /// All that the engine tells of it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn described(&self) -> anyhow::Result<String> {
        let inspected = self
            .engine
            .inspect_container(&self.id, None::<InspectContainerOptions>)
            .await?;
        Ok(serde_json::to_string(&inspected)?)
    }

    /// What it logged since `since` (seconds since the epoch).
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn logs(&self, since: i64) -> anyhow::Result<String> {
        let since = i32::try_from(since).unwrap_or_default();
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .since(since)
            .build();
        let mut lines = self.engine.logs(&self.id, Some(options));
        let mut text = String::new();
        while let Some(line) = lines.next().await {
            push(&mut text, &line?);
        }
        Ok(text)
    }

    /// Runs a command inside.
    ///
    /// # Errors
    /// It is not the project's, the engine refuses, or the command takes too long.
    pub async fn run(&self, command: &[&str]) -> anyhow::Result<Printed> {
        let config = ExecConfig {
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let id = self.own().await?;
        let exec = self.engine.create_exec(id, config).await?;
        let mut text = String::new();
        let reading = async {
            if let StartExecResults::Attached { mut output, .. } =
                self.engine.start_exec(&exec.id, None).await?
            {
                while let Some(line) = output.next().await {
                    push(&mut text, &line?);
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(COMMAND_TIMEOUT, reading)
            .await
            .with_context(|| format!("{command:?} in {} takes too long", self.name()))??;
        let inspected = self.engine.inspect_exec(&exec.id).await?;
        Ok(Printed {
            exit_code: inspected.exit_code.unwrap_or(-1),
            text,
        })
    }
}

fn push(text: &mut String, line: &LogOutput) {
    text.push_str(&String::from_utf8_lossy(line.as_ref()));
}
