//! Processes on this machine, started from compiled programs.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::process::{Child, Command};

use crate::programs::Programs;

/// How long a process may take to be ready.
const READY_BOUND: Duration = Duration::from_secs(40);

/// A setting of a process and its value.
pub type Setting = (&'static str, String);

/// A process of the system.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Its public listener.
    pub public: String,
    /// Its internal listener.
    pub internal: String,
}

impl Process {
    /// Sends it a signal, such as `STOP`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended")?;
        let done = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status()
            .await?;
        ensure!(done.success(), "kill -{name} {id}: {done}");
        Ok(())
    }

    /// The value of a series on its `/metrics`, if it is there.
    pub async fn metric(&self, series: &str) -> anyhow::Result<Option<f64>> {
        let page = client::http_client()?
            .get(format!("{}/metrics", self.internal))
            .send();
        let page = page.await?.text().await?;
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        Ok(value.and_then(|value| value.trim().parse().ok()))
    }

    /// Kills it.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Starts a program and waits until it is ready.
pub async fn spawn(
    programs: &Programs,
    program: &str,
    settings: &[Setting],
    folder: &Path,
) -> anyhow::Result<Process> {
    let (public, internal) = (free_port().await?, free_port().await?);
    let log = folder.join(format!("{program}-{public}.log"));
    let mut command = Command::new(programs.path(program));
    command
        .env_clear()
        .env("HTTP_LISTEN", format!("127.0.0.1:{public}"))
        .env("INTERNAL_LISTEN", format!("127.0.0.1:{internal}"))
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log)?)
        .stderr(std::fs::File::options().append(true).open(&log)?)
        .kill_on_drop(true);
    let child = command
        .spawn()
        .with_context(|| programs.path(program).display().to_string())?;
    let process = Process {
        child,
        public: format!("http://127.0.0.1:{public}"),
        internal: format!("http://127.0.0.1:{internal}"),
    };
    if let Err(error) = wait_for(&format!("{}/readyz", process.internal), "ready").await {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let end: Vec<_> = log.lines().rev().take(10).collect();
        bail!(
            "{program}: {error:#}\n{}",
            end.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(process)
}

async fn free_port() -> anyhow::Result<u16> {
    Ok(tokio::net::TcpListener::bind("127.0.0.1:0")
        .await?
        .local_addr()?
        .port())
}

/// Waits until an address answers 200 with this text in it.
pub async fn wait_for(address: &str, text: &str) -> anyhow::Result<()> {
    let http = client::http_client()?;
    let began = Instant::now();
    loop {
        let asked = async {
            let response = http.get(address).send().await?.error_for_status()?;
            response.text().await
        };
        match asked.await {
            Ok(answer) if answer.contains(text) => return Ok(()),
            other if began.elapsed() > READY_BOUND => bail!("{address} is not ready: {other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
