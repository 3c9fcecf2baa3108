//! The doors to Postgres by what HAProxy says of itself: a session that leads to no node any more is
//! over, for there is room for so many, and then nobody is let in.

use std::time::Duration;

use crate::stack::{Stack, eventually};

/// How long a session may outlast its node: until both sides are given up
/// (`deploy/haproxy/haproxy.cfg`), and a moment.
const OUTLAST: Duration = Duration::from_secs(15);

/// The sum of a series over both doors.
fn sum(lines: &[String], series: &str) -> f64 {
    let of_a_door = |line: &&String| {
        ["primary", "replicas"]
            .iter()
            .any(|door| line.starts_with(&format!("{series}{{proxy=\"{door}\"")))
    };
    let value = |line: &String| line.rsplit(' ').next()?.parse::<f64>().ok();
    lines.iter().filter(of_a_door).filter_map(value).sum()
}

/// Waits until the doors have no session but those that they led to a node.
pub async fn every_session_leads_to_a_node(stack: &Stack) -> anyhow::Result<()> {
    let mut last = (0.0, 0.0);
    eventually(OUTLAST, "every session leads to a node", async || {
        let lines = stack
            .scrape("http://haproxy:8404/metrics", "haproxy_")
            .await?;
        let inside = sum(&lines, "haproxy_frontend_current_sessions");
        let led = sum(&lines, "haproxy_server_current_sessions");
        last = (inside, led);
        Ok((inside > 0.0 && inside <= led).then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("sessions, and those that lead to a node: {last:?}")))
}
