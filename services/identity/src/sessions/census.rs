//! How many sessions there are, for Prometheus.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::Utc;
use prometheus::{IntGauge, register_int_gauge};
use service::Process;

use super::{LIVE, Sessions};

/// As often as Prometheus asks, about.
const EVERY: Duration = Duration::from_secs(5);

#[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
static SESSIONS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "identity_sessions",
        "Sessions that go on, of all accounts; each replica counts all of them."
    )
    .expect("metric names are unique")
});

#[allow(clippy::expect_used)] // as above
static MOST: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "identity_sessions_limit",
        "Sessions that there is room for."
    )
    .expect("metric names are unique")
});

/// Runs until the process drains. While Redis does not answer, the last count stands.
pub(crate) async fn forever(sessions: Sessions, process: Process) -> anyhow::Result<()> {
    LazyLock::force(&SESSIONS);
    MOST.set(i64::from(sessions.most.in_all));
    loop {
        let mut ask = redis::pipe();
        ask.cmd("ZCOUNT")
            .arg(LIVE)
            .arg(Utc::now().timestamp())
            .arg("+inf");
        match sessions.primary.ask::<(i64,)>(&ask).await {
            Ok((count,)) => SESSIONS.set(count),
            Err(error) => tracing::debug!(%error, "the sessions were not counted"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = process.draining() => return Ok(()),
        }
    }
}
