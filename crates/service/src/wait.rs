//! Waiting for a store at start, with a bound.

use std::time::Duration;

use anyhow::Context;

use crate::Process;

/// How long a process waits for one of its stores before it ends with a failure and is started
/// again by its supervisor.
pub const BOUND: Duration = Duration::from_secs(60);

/// Calls `attempt` until it succeeds, with pauses that grow to a second, for at most [`BOUND`].
///
/// # Errors
/// The last failure, or that the process was asked to stop meanwhile.
pub async fn until_ready<T, E, F, Fut>(
    process: &Process,
    part: &'static str,
    mut attempt: F,
) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let deadline = tokio::time::Instant::now() + BOUND;
    let mut pause = Duration::from_millis(50);
    loop {
        let tried = tokio::time::timeout(Duration::from_secs(5), attempt()).await;
        let error = match tried {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.into(),
            Err(_) => anyhow::anyhow!("no answer within 5 s"),
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(error.context(format!("{part} was not ready within {} s", BOUND.as_secs())));
        }
        tracing::info!(part, error = format!("{error:#}"), "waiting for a part");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = process.draining() => {
                return Err(error).context("stopped while waiting for a part");
            }
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
