//! Waiting for a store at start, with a bound.
//!
//! A starting process waits for what it needs of a store, not for a store that answers: Postgres
//! answers before it takes writes. One that ends instead is restarted by the engine, and
//! `docker compose up --wait` can count the end as a failure of the whole start.

use std::time::Duration;

use anyhow::Context;

use crate::Process;

/// How long a process waits for one of its stores before it ends with a failure and is started
/// again by its supervisor. It is longer than a cold start of all parts takes on a busy machine:
/// etcd elects, the lease of a former Postgres primary expires, a node is promoted.
pub const BOUND: Duration = Duration::from_secs(180);

/// How long one attempt of [`until_ready`] may take.
const ATTEMPT: Duration = Duration::from_secs(5);

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
    let any = |_: &anyhow::Error| true;
    until_done(process, part, any, || {
        let tried = tokio::time::timeout(ATTEMPT, attempt());
        async move {
            match tried.await {
                Ok(done) => done.map_err(Into::into),
                Err(_) => Err(anyhow::anyhow!("no answer within {} s", ATTEMPT.as_secs())),
            }
        }
    })
    .await
}

/// The same for work that takes as long as it takes, and that repeats only a failure which
/// `may_pass`. An attempt that is under way when [`BOUND`] is over is not cut off; one that is under
/// way when the process is asked to stop is dropped.
///
/// # Errors
/// The last failure, one that cannot pass, or that the process was asked to stop meanwhile.
pub async fn until_done<T, E, F, Fut>(
    process: &Process,
    part: &'static str,
    may_pass: impl Fn(&E) -> bool,
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
        let tried = tokio::select! {
            tried = attempt() => tried,
            () = process.draining() => anyhow::bail!("stopped while waiting for {part}"),
        };
        let failure = match tried {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let passes = may_pass(&failure);
        let error: anyhow::Error = failure.into();
        if !passes {
            return Err(error.context(part));
        }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Fails so often, then succeeds.
    async fn succeeds_after(failures: u32, tries: &Cell<u32>) -> anyhow::Result<u32> {
        tries.set(tries.get() + 1);
        anyhow::ensure!(tries.get() > failures, "not yet");
        Ok(tries.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_may_pass_is_repeated_and_any_other_is_not() {
        let process = Process::new();
        let tries = Cell::new(0);
        let after_3 = || succeeds_after(3, &tries);
        let done = until_done(&process, "a part", |_| true, after_3).await;
        assert_eq!(done.unwrap(), 4);
        tries.set(0);
        let done = until_done(&process, "a part", |_| false, after_3).await;
        assert!(done.is_err());
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_also_in_the_middle_of_an_attempt() {
        let process = Process::new();
        let hangs = || async {
            process.drain();
            std::future::pending::<anyhow::Result<()>>().await
        };
        let waits = until_done(&process, "a part", |_| true, hangs);
        let ended = tokio::time::timeout(BOUND, waits).await;
        assert!(ended.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_never_ready_is_waited_for_with_a_bound() {
        let process = Process::new();
        let tries = Cell::new(0);
        let began = tokio::time::Instant::now();
        let never = || succeeds_after(u32::MAX, &tries);
        let done = until_ready(&process, "a part", never).await;
        assert!(format!("{:#}", done.unwrap_err()).contains("a part was not ready"));
        assert!(began.elapsed() >= BOUND && began.elapsed() < BOUND + ATTEMPT);
    }
}
