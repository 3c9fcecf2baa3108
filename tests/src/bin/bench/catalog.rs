//! A cached catalog read through Nginx against Nginx passing the request to a bare Axum handler
//! that answers the same bytes: one replica each, the same Nginx, the same configuration.
//!
//! The bare handler takes the catalog's name in the stack's network, so that not a line of the
//! configuration differs. Both processes log at `info` and both leave the access log to Nginx.

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use tests::client::Door;

use crate::stack::{Stack, docker, run};
use crate::table::Row;

/// Length of a run.
const SECONDS: u32 = 6;
/// Kept-alive connections of the load.
const CONNECTIONS: u32 = 16;
/// Runs of each, in turns; the fastest counts.
const TURNS: usize = 2;

/// Measures both.
///
/// # Errors
/// A part did not answer as it should.
pub async fn measure(stack: &Stack) -> anyhow::Result<Row> {
    let door = Door::at(&crate::setting("BOXOFFICE_DOOR")?)?;
    let list = get(&door, "/api/catalog/events?limit=1").await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let id = list["items"][0]["id"]
        .as_str()
        .context("there is no event to read")?;
    let path = format!("/api/catalog/events/{id}");
    let answer = get(&door, &path).await?;
    let url = format!("{}{path}", door.address());

    let stopped = stack.stop_all_but(1, "catalog").await?;
    let catalog = stack.containers(Some("catalog")).await?;
    let network = format!("{}_default", stack.project());
    let own = run("cat", &["/etc/hostname"], "").await?;
    let bare = tokio::spawn(serve(answer.clone()));
    let (mut ours, mut theirs) = (0_f64, 0_f64);
    for _ in 0..TURNS {
        settle(&door, &path, &answer).await?;
        ours = ours.max(load(&url).await?);
        for container in &catalog {
            docker(&["network", "disconnect", &network, container], "").await?;
        }
        // This process, under the catalog's name.
        docker(&["network", "disconnect", &network, &own], "").await?;
        docker(
            &["network", "connect", "--alias", "catalog", &network, &own],
            "",
        )
        .await?;
        settle(&door, &path, &answer).await?;
        theirs = theirs.max(load(&url).await?);
        docker(&["network", "disconnect", &network, &own], "").await?;
        docker(&["network", "connect", &network, &own], "").await?;
        for container in &catalog {
            docker(
                &[
                    "network", "connect", "--alias", "catalog", &network, container,
                ],
                "",
            )
            .await?;
        }
    }
    bare.abort();
    settle(&door, &path, &answer).await?;
    stack.start(&stopped).await?;
    Ok(Row::ratio(
        "cached catalog read through Nginx",
        ours,
        "bare Axum handler with the same bytes through the same Nginx",
        theirs,
        0.6,
    ))
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

/// Waits until the door has followed the change of address.
async fn settle(door: &Door, path: &str, answer: &Bytes) -> anyhow::Result<()> {
    let mut good = 0;
    for _ in 0..100 {
        good = if get(door, path).await.is_ok_and(|got| got == *answer) {
            good + 1
        } else {
            0
        };
        if good == 20 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("{path} did not answer the same bytes again within 20 s")
}

async fn get(door: &Door, path: &str) -> anyhow::Result<Bytes> {
    let url = format!("{}{path}", door.address());
    let answer = door.http().get(url).send().await?.error_for_status()?;
    Ok(answer.bytes().await?)
}

/// Requests a second that wrk counted, refused if any was not answered with 2xx.
async fn load(url: &str) -> anyhow::Result<f64> {
    let connections = CONNECTIONS.to_string();
    let duration = format!("{SECONDS}s");
    let printed = run(
        "wrk",
        &["-t1", "-c", &connections, "-d", &duration, url],
        "",
    )
    .await?;
    anyhow::ensure!(
        !printed.contains("Non-2xx"),
        "not every answer was good:\n{printed}"
    );
    printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("wrk printed no rate:\n{printed}"))
}
