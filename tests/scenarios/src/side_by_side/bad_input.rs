//! What nobody should send, through the door, beside bodies: refused with the right status, never
//! a 5xx, and nothing has changed afterwards.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::Method;
use crowd::visit::cards;
use serde_json::json;

use super::bodies::send;
use crate::deadline::generous;
use crate::stack::{Stack, answered, refusal, refused_with};

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn oversized_bodies_headers_and_paths_are_refused_at_the_door() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let visitor = stack.visitor();
    let body = json!({"email": "a".repeat(100_000), "password": "x"}).to_string();
    for path in ["/api/identity/accounts", "/api/identity/sessions"] {
        let json = [("content-type", "application/json")];
        let (status, answer) = send(&visitor, Method::POST, path, &json, body.clone()).await?;
        ensure!(
            status == 413 && answer["type"] == "/problems/body-too-large",
            "{path}: {status} {answer}"
        );
    }
    let http = stack.door.http();
    let door = stack.door.address();
    let long = http.get(format!(
        "{door}/api/catalog/events?city={}",
        "a".repeat(40_000)
    ));
    let status = answered(long).await?.status();
    ensure!(
        matches!(status.as_u16(), 414 | 400),
        "a long path: {status}"
    );
    let header = http
        .get(format!("{door}/api/catalog/events"))
        .header("x-long", "a".repeat(40_000));
    let status = answered(header).await?.status();
    ensure!(
        matches!(status.as_u16(), 431 | 400),
        "a long header: {status}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn forged_tickets_let_nobody_in() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::FINE).await?;
    let ann = &hall.customers[0];
    let code = hall.ticket_code(0, order.id).await?;
    let before = hall.possessions().await?;
    let door = &hall.organiser.client;
    let flip = |at: usize| {
        let mut bytes = code.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes)
    };
    for forged in [flip(10)?, flip(30)?, flip(60)?, flip(100)?] {
        refused_with(door.scan(&forged).await, 422, "ticket-forged")?;
    }
    for nonsense in ["", "x", &code[..64], &code.repeat(2), "ümlaut"] {
        let refusal = refusal(door.scan(nonsense).await)?;
        ensure!(refusal.0 == 422, "{nonsense}: {refusal:?}");
    }
    // A customer is no organiser, and another organiser's door is another door.
    ensure!(refusal(ann.scan(&code).await)?.0 == 403);
    let other = hall.stack.hall(2, 0).await?;
    refused_with(other.organiser.client.scan(&code).await, 404, "not-found")?;
    ensure!(hall.possessions().await? == before, "something has changed");
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn what_is_inside_is_unreachable_from_outside() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let inside = [
        "metrics",
        "livez",
        "readyz",
        "internal/session",
        "internal/ledger",
        "internal",
    ];
    let prefixes = [
        "",
        "/api/booking",
        "/api/identity",
        "/api/catalog",
        "/api/worker",
        "/api/bank",
        "/api/booking/.",
        "/api/booking/..",
        "/api/catalog/%2e%2e",
        "//",
        "/api//booking",
    ];
    for prefix in prefixes {
        for path in inside {
            let path = format!("{prefix}/{path}");
            let status = raw_get(&stack, &path).await?;
            ensure!(matches!(status, 400 | 401 | 404), "{path} answers {status}");
        }
    }
    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/internal",
        "/internal/ledger",
    ] {
        ensure!(raw_get(&stack, path).await? == 404, "{path}");
    }
    ensure!(
        raw_get(&stack, "/api/bank/v1/balance").await? >= 400,
        "the bank is reachable"
    );
    Ok(())
}

/// A GET whose path is sent as it stands, dots and all; the status.
async fn raw_get(stack: &Stack, path: &str) -> anyhow::Result<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = stack
        .door
        .address()
        .trim_start_matches("http://")
        .to_owned();
    let mut stream = tokio::net::TcpStream::connect(&host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let deadline = generous(Duration::from_secs(10));
    tokio::time::timeout(deadline, stream.read_to_end(&mut answer)).await??;
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.with_context(|| format!("no status in {text:.60}"))
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn customers_may_not_do_what_organisers_do() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let event = client::catalog::NewEvent::with_seats("Mine", 10);
    ensure!(refusal(ann.open_event(&event).await)?.0 == 403);
    let publish = refusal(ann.publish_event(hall.event_id).await)?;
    ensure!(matches!(publish.0, 403 | 404), "{publish:?}");
    let settlements = refusal(ann.settlements(hall.event_id).await)?;
    ensure!(matches!(settlements.0, 403 | 404), "{settlements:?}");
    let other = hall.stack.hall(2, 0).await?;
    let stranger = &other.organiser.client;
    refused_with(stranger.settlements(hall.event_id).await, 404, "not-found")?;
    refused_with(
        stranger.publish_event(hall.event_id).await,
        404,
        "not-found",
    )?;
    Ok(())
}
