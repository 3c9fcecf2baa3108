//! The soft and the hard stop.
//!
//! The first SIGTERM or SIGINT drains: readiness turns off, no new work is taken, work in hand is
//! finished. A second signal, or [`HARD_STOP_AFTER`](crate::HARD_STOP_AFTER) later, what is left
//! is dropped.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The running process: its two stops and its background tasks.
#[derive(Clone, Debug)]
pub struct Process {
    draining: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self {
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Ends when the process should take no new work.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Whether the process takes no new work any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The soft stop as a token, for libraries that want one.
    #[must_use]
    pub fn soft_stop(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Ends when what is left should be dropped.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Begins the soft stop.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Begins the hard stop.
    pub fn end(&self) {
        self.draining.cancel();
        self.ended.cancel();
    }

    /// Spawns a background task called `name`. The process waits for it when it stops; a task
    /// that fails or panics stops the process, so that its supervisor starts it afresh.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let process = self.clone();
        self.tasks.spawn(async move {
            match tokio::spawn(task).await {
                Ok(Ok(())) => tracing::debug!(task.name = name, "task ended"),
                Ok(Err(error)) => {
                    tracing::error!(
                        task.name = name,
                        error = format!("{error:#}"),
                        "task failed"
                    );
                    process.drain();
                }
                Err(error) => {
                    tracing::error!(task.name = name, %error, "task panicked");
                    process.drain();
                }
            }
        });
    }

    /// Waits until every task ended or the hard stop has come.
    pub(crate) async fn wait_for_tasks(&self) {
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = self.ended.cancelled() => {
                tracing::warn!(tasks = self.tasks.len(), "tasks are dropped by the hard stop");
            }
        }
    }

    /// Turns signals into stops, and the soft stop into the hard one after a while.
    pub(crate) fn stop_on_signals(&self) {
        let process = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = signal() => tracing::info!("stop asked for: draining"),
                () = process.draining() => {}
            }
            process.drain();
            tokio::select! {
                () = signal() => tracing::warn!("second stop asked for: ending at once"),
                () = tokio::time::sleep(crate::HARD_STOP_AFTER) => {}
                () = process.ended() => {}
            }
            process.end();
        });
    }
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be heard: only a kill can stop this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// How long open connections are still answered once the process drains and takes no others, so that a request that
/// a proxy had just put on a kept-alive connection is not lost. Nginx closes connections to us
/// that stood idle for longer than half of this.
pub const GRACE: Duration = Duration::from_secs(1);
