//! Making a fault, and undoing it.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::roles::address;
use super::{Container, Fault, Kind, Project};
use client::http_client;

/// A slow part is frozen for so long, then let go for so long, over and over. Each of the two
/// costs the engine a process, so it is not done more often; and it is short of every election's
/// and every lease's time, for a part that is only slow is not to be taken for dead.
const FROZEN: Duration = Duration::from_millis(250);
const AWAKE: Duration = Duration::from_millis(400);

/// How long Patroni may take to hand over.
const SWITCH_BOUND: Duration = Duration::from_secs(30);

/// How often it is asked for, and the pause between.
const SWITCH_TRIES: u32 = 4;
const SWITCH_PAUSE: Duration = Duration::from_secs(2);

/// A fault that was made. It lasts until it is undone; dropping it leaves it to
/// [`Project::heal`].
#[derive(Debug)]
pub struct Made {
    struck: Vec<Container>,
    /// What is still going on because of it.
    goes_on: Option<JoinHandle<anyhow::Result<()>>>,
    ends: CancellationToken,
    /// Just before the engine was asked.
    pub at: Instant,
}

impl Drop for Made {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

impl Project {
    /// Makes a fault on whoever has its target's role now.
    ///
    /// # Errors
    /// Nobody has it, or the engine refuses.
    pub async fn strike(&self, fault: &Fault) -> anyhow::Result<Made> {
        let struck = self.struck_by(fault.target, fault.which).await?;
        self.strike_these(fault.kind, struck).await
    }

    /// Makes a fault on these containers.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn strike_these(&self, kind: Kind, struck: Vec<Container>) -> anyhow::Result<Made> {
        let mut made = Made {
            struck,
            goes_on: None,
            ends: CancellationToken::new(),
            at: Instant::now(),
        };
        let struck = made.struck.clone();
        match kind {
            Kind::Kill => drop(try_join_all(struck.iter().map(Container::kill)).await?),
            Kind::Restart => {
                drop(try_join_all(struck.iter().map(Container::kill)).await?);
                drop(try_join_all(struck.iter().map(Container::start)).await?);
            }
            Kind::Pause => drop(try_join_all(struck.iter().map(Container::pause)).await?),
            Kind::Cut => {
                drop(try_join_all(struck.iter().map(Container::disconnect)).await?);
            }
            // Whoever is told to stop takes its time, and is a part of the stack meanwhile.
            Kind::Stop => {
                made.goes_on = Some(tokio::spawn(async move {
                    try_join_all(struck.iter().map(Container::stop_as_composed)).await?;
                    Ok(())
                }));
            }
            Kind::Slow => {
                let ends = made.ends.clone();
                made.goes_on = Some(tokio::spawn(async move { stutter(&struck, &ends).await }));
            }
            Kind::Switch => {
                made.goes_on = Some(tokio::spawn(async move {
                    try_join_all(struck.iter().map(switch)).await?;
                    Ok(())
                }));
            }
        }
        Ok(made)
    }
}

impl Made {
    /// On whom it was made.
    #[must_use]
    pub fn struck(&self) -> &[Container] {
        &self.struck
    }

    /// Starts, wakes or reconnects what it was made on; tells when the engine was done with it.
    ///
    /// # Errors
    /// The engine refuses, or what went on because of the fault failed.
    pub async fn undo(mut self) -> anyhow::Result<Instant> {
        self.ends.cancel();
        let ended = match self.goes_on.take() {
            Some(task) => task.await.context("the fault's own task")?,
            None => Ok(()),
        };
        try_join_all(self.struck.iter().map(Container::restore)).await?;
        ended?;
        Ok(Instant::now())
    }
}

async fn stutter(struck: &[Container], ends: &CancellationToken) -> anyhow::Result<()> {
    while !ends.is_cancelled() {
        try_join_all(struck.iter().map(Container::pause)).await?;
        tokio::time::sleep(FROZEN).await;
        try_join_all(struck.iter().map(Container::unpause)).await?;
        tokio::select! {
            () = ends.cancelled() => {}
            () = tokio::time::sleep(AWAKE) => {}
        }
    }
    Ok(())
}

/// Asks Patroni to make another node the primary. Patroni refuses while it does not reach a standby
/// that it counts on; an operator asks again then.
async fn switch(primary: &Container) -> anyhow::Result<()> {
    let address = format!("http://{}:8008/switchover", address(primary).await?);
    let http = http_client()?;
    let password = client::secret("postgres/patroni_password")?;
    let mut tries = 1;
    loop {
        let ask = http.post(&address).timeout(SWITCH_BOUND);
        let ask = ask.basic_auth("patroni", Some(&password));
        let ask = ask.json(&serde_json::json!({"leader": primary.service}));
        let answer = ask.send().await?;
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        if status.is_success() {
            return Ok(());
        }
        anyhow::ensure!(tries < SWITCH_TRIES, "no switchover: {status}: {said}");
        println!("no switchover: {status}: {said}");
        tries += 1;
        tokio::time::sleep(SWITCH_PAUSE).await;
    }
}
