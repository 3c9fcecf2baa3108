//! A cached catalog read through Nginx against Nginx passing the request to a bare Axum handler
//! that answers the same bytes: one replica each, the same Nginx, the same configuration.
//!
//! The bare handler takes the catalog's name in the stack's network, so that not a line of the
//! configuration differs. Neither process logs a request that went well; Nginx logs both.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use client::http_client;
use faults::Container;
use tokio::process::Command;

use crate::processors::Processors;
use crate::stack::Stack;
use crate::table::Rates;

/// Length of a run.
const RUN: Duration = Duration::from_secs(6);
/// Length of the run before each that is not counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// Kept-alive connections of the load.
const CONNECTIONS: u32 = 16;
/// Runs of each, in turns, and each goes first in every other one.
const TURNS: u32 = 3;
/// Good answers in a row after which the door has followed a change of address.
const IN_A_ROW: u32 = 20;
/// How long that may take.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(30);
/// The smallest part of the reads that must have met the cache.
const CACHED: f64 = 0.99;

/// What is read, and how it is answered.
struct Read {
    url: String,
    answer: Bytes,
}

/// Measures both.
///
/// # Errors
/// A part did not answer as it should.
pub async fn measure(stack: &Stack) -> anyhow::Result<Rates> {
    let read = Read::first_event(stack).await?;
    let catalog = stack.project.containers("catalog").await?;
    for each in &catalog {
        stop(each).await?;
    }
    let one = catalog.first().context("catalog does not run")?;
    let bare = tokio::spawn(serve(read.answer.clone()));
    let rates = in_turns(stack, one, &read).await;
    bare.abort();
    // Whatever happened: the parts that follow need their place in the network.
    stack.rejoin_as(None).await?;
    rates
}

async fn in_turns(stack: &Stack, catalog: &Container, read: &Read) -> anyhow::Result<Rates> {
    let mut rates = Rates::default();
    for turn in 0..TURNS {
        for ours in [turn % 2 == 0, turn % 2 == 1] {
            if ours {
                catalog.start().await?;
                let before = Processors::read(stack).await?;
                rates.ours += cached(stack, read).await? / f64::from(TURNS);
                let after = Processors::read(stack).await?;
                rates.processors.add_between(&before, &after);
                stop(catalog).await?;
            } else {
                // This process, under the catalog's name.
                stack.rejoin_as(Some("catalog")).await?;
                rates.theirs += warm(read).await? / f64::from(TURNS);
                stack.rejoin_as(None).await?;
            }
        }
    }
    Ok(rates)
}

async fn stop(container: &Container) -> anyhow::Result<()> {
    container.stop(Duration::from_secs(10)).await
}

/// The rate of the catalog, which must have answered from its cache.
async fn cached(stack: &Stack, read: &Read) -> anyhow::Result<f64> {
    let rate = warm(read).await?;
    let address = stack.address("catalog").await?;
    let page = format!("http://{address}:9000/metrics");
    let page = http_client()?.get(page).send().await?.text().await?;
    let requests = page
        .lines()
        .filter(|line| line.starts_with("cache_requests_total{"))
        .filter_map(|line| Some((line, line.rsplit(' ').next()?.parse::<f64>().ok()?)));
    let (mut hits, mut all) = (0.0, 0.0);
    for (line, count) in requests {
        all += count;
        if line.contains("result=\"hit\"") {
            hits += count;
        }
    }
    ensure!(hits > CACHED * all, "{hits} of {all} reads met the cache");
    Ok(rate)
}

/// The rate after a run that is not counted.
async fn warm(read: &Read) -> anyhow::Result<f64> {
    read.followed().await?;
    load(&read.url, WARM_UP).await?;
    load(&read.url, RUN).await
}

/// The bare handler: nothing but the bytes.
async fn serve(answer: Bytes) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    let handler = Router::new().fallback(move || {
        let answer = answer.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], answer) }
    });
    axum::serve(listener, handler).await?;
    Ok(())
}

impl Read {
    /// Some event that is on sale.
    async fn first_event(stack: &Stack) -> anyhow::Result<Self> {
        let events = format!("{}/api/catalog/events", stack.door.address());
        let http = http_client()?;
        let list = get(&http, &format!("{events}?limit=1")).await?;
        let list: serde_json::Value = serde_json::from_slice(&list)?;
        let id = list["items"][0]["id"].as_str();
        let url = format!("{events}/{}", id.context("there is no event to read")?);
        let answer = get(&http, &url).await?;
        Ok(Self { url, answer })
    }

    /// Waits until the door has followed a change of address.
    async fn followed(&self) -> anyhow::Result<()> {
        // Connections from before are dead without knowing it.
        let http = http_client()?;
        let deadline = Instant::now() + FOLLOWED_WITHIN;
        let mut good = 0;
        while good < IN_A_ROW {
            ensure!(
                Instant::now() < deadline,
                "{} does not answer the same bytes again",
                self.url
            );
            if get(&http, &self.url)
                .await
                .is_ok_and(|got| got == self.answer)
            {
                good += 1;
            } else {
                good = 0;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }
}

async fn get(http: &reqwest::Client, url: &str) -> anyhow::Result<Bytes> {
    let answer = http.get(url).send().await?;
    Ok(answer.error_for_status()?.bytes().await?)
}

/// Requests a second that wrk counted, refused if any was not answered, or not with 2xx.
async fn load(url: &str, length: Duration) -> anyhow::Result<f64> {
    let connections = CONNECTIONS.to_string();
    let duration = format!("{}s", length.as_secs());
    let wrk = Command::new("wrk")
        .args(["-t1", "-c", &connections, "-d", &duration, url])
        .kill_on_drop(true)
        .output()
        .await
        .context("wrk could not be started")?;
    let printed = String::from_utf8_lossy(&wrk.stdout);
    ensure!(
        wrk.status.success(),
        "wrk: {}",
        String::from_utf8_lossy(&wrk.stderr)
    );
    ensure!(
        !printed.contains("Non-2xx") && !printed.contains("Socket errors"),
        "not every answer was good:\n{printed}"
    );
    printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("wrk printed no rate:\n{printed}"))
}
