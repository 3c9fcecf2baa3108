//! Queries that read everything: Prometheus refuses them, and goes on.

use std::time::Duration;

use anyhow::ensure;
use chrono::Utc;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;

use crate::deadline::generous;
use crate::stack::Stack;

/// How many are sent at once, and how often: far more than are worked on at once.
const AT_ONCE: usize = 8;
const ROUNDS: u32 = 3;

/// How long Prometheus works on one at most; those that wait for their turn count too.
const BOUND: Duration = Duration::from_secs(10);

/// What is sent, each as often: every sample of every series, and all that is kept of them.
const QUERIES: [&str; 2] = [
    r#"{__name__=~".+"}"#,
    r#"sum(count_over_time({__name__=~".+"}[1d]))"#,
];

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_query_over_every_series_gets_an_error_and_prometheus_goes_on() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let started = started(&stack).await?;
    for _ in 0..ROUNDS {
        for query in QUERIES {
            let answers = join_all((0..AT_ONCE).map(|_| range(&stack, query))).await;
            for answer in answers {
                let (status, answer) = answer?;
                let is_refused = matches!(status.as_u16(), 422 | 503);
                ensure!(
                    is_refused && answer["status"] == "error",
                    "{query}: {status} {:.200}",
                    answer.to_string()
                );
                println!("{query}: {status} {}", answer["error"]);
            }
        }
    }
    ensure!(started == self::started(&stack).await?, "it was restarted");
    let up = instant(&stack, "count(up == 1)").await?;
    ensure!(up["status"] == "success", "{up}");
    Ok(())
}

/// When Prometheus was started, as it says itself.
async fn started(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let page = format!("{}/metrics", stack.prometheus);
    let lines = stack.scrape(&page, "process_start_time_seconds").await?;
    ensure!(lines.len() == 1, "{lines:?}");
    Ok(lines)
}

/// A quarter of an hour in steps of a second. It ends in the future: a series counts for five minutes
/// after its last sample, so there is enough of a stack that is young.
async fn range(stack: &Stack, query: &str) -> anyhow::Result<(StatusCode, Value)> {
    let now = Utc::now().timestamp();
    let address = format!(
        "{}/api/v1/query_range?query={}&start={}&end={}&step=1",
        stack.prometheus,
        encoded(query),
        now - 600,
        now + 300,
    );
    // Not sent again after a 503: that is one of the answers that it may get.
    let request = stack.door.http().get(address);
    let response = request.timeout(generous(BOUND * 2)).send().await?;
    Ok((response.status(), response.json().await?))
}

async fn instant(stack: &Stack, query: &str) -> anyhow::Result<Value> {
    let address = format!("{}/api/v1/query?query={}", stack.prometheus, encoded(query));
    let request = stack.door.http().get(address);
    Ok(request
        .timeout(generous(BOUND))
        .send()
        .await?
        .json()
        .await?)
}

fn encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
