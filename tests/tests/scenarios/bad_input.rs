//! What nobody should send, through the door: refused with the right status, never a 5xx, and
//! nothing has changed afterwards.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::{Client, OrderState};
use tests::crowd::visit::cards;

use crate::stack::{Hall, Stack, eventually, refused_with};

/// A request whose body is exactly these bytes.
async fn send(
    client: &Client,
    method: Method,
    path: &str,
    kind: &str,
    body: impl Into<Vec<u8>>,
) -> anyhow::Result<(StatusCode, Value)> {
    let address = format!("{}{path}", client.door().address());
    let mut request = client
        .door()
        .http()
        .request(method, address)
        .header("content-type", kind)
        .header("idempotency-key", client.next_key())
        .body(body.into());
    if let Some(session) = client.session() {
        request = request.bearer_auth(&session.token);
    }
    let response = request.send().await?;
    let status = response.status();
    Ok((status, response.json().await.unwrap_or_default()))
}

/// What must not change: everything that `booking` has of the event.
async fn state_of(hall: &Hall) -> anyhow::Result<Value> {
    let audit = hall.audit().await?;
    Ok(json!([
        audit.orders,
        audit.holds,
        audit.seats,
        audit.tickets
    ]))
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn bodies_that_cannot_be_meant_are_refused_and_change_nothing() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let before = state_of(&hall).await?;
    let event = hall.event_id;
    let json_kind = "application/json";
    let good = json!({"event_id": event, "best": {"count": 1}}).to_string();
    let cases: Vec<(&str, &str, Vec<u8>, &[u16])> = vec![
        ("empty", json_kind, Vec::new(), &[400]),
        (
            "truncated",
            json_kind,
            good.as_bytes()[..good.len() - 3].to_vec(),
            &[400],
        ),
        (
            "two values",
            json_kind,
            format!("{good}{good}").into_bytes(),
            &[400],
        ),
        (
            "deeply nested",
            json_kind,
            "[".repeat(30_000).into_bytes(),
            &[400, 422],
        ),
        (
            "deep within a field",
            json_kind,
            format!(r#"{{"event_id":{}"#, "{\"a\":".repeat(8_000)).into_bytes(),
            &[400, 422],
        ),
        (
            "another type of body",
            json_kind,
            b"[1,2,3]".to_vec(),
            &[422],
        ),
        (
            "another type of field",
            json_kind,
            json!({"event_id": 7, "best": {"count": 1}})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "a count that is text",
            json_kind,
            json!({"event_id": event, "best": {"count": "1"}})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "a negative count",
            json_kind,
            json!({"event_id": event, "best": {"count": -1}})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "too many",
            json_kind,
            json!({"event_id": event, "best": {"count": 11}})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "a huge number",
            json_kind,
            format!(r#"{{"event_id":"{event}","best":{{"count":1e400}}}}"#).into_bytes(),
            &[400, 422],
        ),
        (
            "an unknown field",
            json_kind,
            json!({"event_id": event, "best": {"count": 1}, "price": 0})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "seats and best",
            json_kind,
            json!({"event_id": event, "best": {"count": 1}, "seats": []})
                .to_string()
                .into(),
            &[422],
        ),
        (
            "no seats",
            json_kind,
            json!({"event_id": event, "seats": []}).to_string().into(),
            &[422],
        ),
        (
            "not UTF-8",
            json_kind,
            vec![b'"', 0xff, 0xfe, b'"'],
            &[400, 422],
        ),
        (
            "UTF-16",
            json_kind,
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            &[400],
        ),
        (
            "a form",
            "application/x-www-form-urlencoded",
            b"event_id=1".to_vec(),
            &[415],
        ),
        ("no type", "text/plain", good.clone().into_bytes(), &[415]),
        (
            "a NUL in text",
            json_kind,
            json!({"event_id": event, "seats": [{"section": "a\u{0}", "row": "1", "number": 1}]})
                .to_string()
                .into(),
            &[404, 409, 422],
        ),
        (
            "oversized",
            json_kind,
            format!(r#"{{"event_id":"{}"}}"#, "a".repeat(70_000)).into_bytes(),
            &[413],
        ),
    ];
    for (name, kind, body, wanted) in cases {
        let (status, answer) = send(ann, Method::POST, "/api/booking/holds", kind, body).await?;
        ensure!(
            wanted.contains(&status.as_u16()),
            "{name}: {status} {answer}"
        );
        ensure!(
            answer["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("/problems/")),
            "{name}: {answer}"
        );
    }
    ensure!(state_of(&hall).await? == before, "something has changed");
    hall.check(&[2, 3, 4]).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn oversized_bodies_headers_and_paths_are_refused_at_the_door() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let visitor = stack.visitor();
    let body = json!({"email": "a".repeat(100_000), "password": "x"}).to_string();
    for path in ["/api/identity/accounts", "/api/identity/sessions"] {
        let (status, answer) = send(
            &visitor,
            Method::POST,
            path,
            "application/json",
            body.clone(),
        )
        .await?;
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
    let status = long.send().await?.status();
    ensure!(
        matches!(status.as_u16(), 414 | 400),
        "a long path: {status}"
    );
    let header = http
        .get(format!("{door}/api/catalog/events"))
        .header("x-long", "a".repeat(40_000));
    let status = header.send().await?.status();
    ensure!(
        matches!(status.as_u16(), 431 | 400),
        "a long header: {status}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn expired_and_forged_sessions_open_nothing() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let ann = hall.customers[0].clone();
    let token = ann.session().context("no session")?.token.clone();
    let before = state_of(&hall).await?;
    let with = |token: &str| {
        let mut session = ann.session().cloned();
        if let Some(session) = &mut session {
            session.token = token.to_owned();
        }
        session.map_or(ann.clone(), |session| ann.clone().with_session(session))
    };
    let mut flipped = token.clone().into_bytes();
    let last = flipped.last_mut().context("an empty token")?;
    *last = if *last == b'A' { b'B' } else { b'A' };
    let forged = [
        String::new(),
        "x".to_owned(),
        String::from_utf8(flipped)?,
        token.repeat(2),
        token[..token.len() / 2].to_owned(),
        "../../etc".to_owned(),
        "*".to_owned(),
    ];
    for forged in forged {
        let eve = with(&forged);
        refused_with(eve.me().await, 401, "unauthorized")?;
        refused_with(eve.orders(None).await, 401, "unauthorized")?;
        let wanted = tests::client::booking::Wanted::Best(1);
        refused_with(eve.hold(hall.event_id, &wanted).await, 401, "unauthorized")?;
    }
    // A session that was ended is over at once, everywhere.
    ann.sign_out().await?;
    refused_with(ann.me().await, 401, "unauthorized")?;
    refused_with(ann.orders(None).await, 401, "unauthorized")?;
    ensure!(state_of(&hall).await? == before, "something has changed");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn headers_that_say_who_somebody_is_are_not_believed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 2).await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    let ann = hall.customers[0].account_id().to_string();
    let bob = hall.customers[1]
        .session()
        .context("no session")?
        .token
        .clone();
    let path = format!("{}/api/booking/orders/{}", stack.door.address(), order.id);
    for (session, wanted) in [(None, 401), (Some(bob), 404)] {
        let mut request = stack
            .door
            .http()
            .get(&path)
            .header("x-account-id", &ann)
            .header("x-account-role", "customer");
        if let Some(session) = session {
            request = request.bearer_auth(session);
        }
        let status = request.send().await?.status();
        ensure!(status == wanted, "{status}, not {wanted}");
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn forged_tickets_let_nobody_in() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let order = hall.order(0, cards::FINE).await?;
    let ann = &hall.customers[0];
    let code = eventually(
        Duration::from_secs(20),
        "the ticket is rendered",
        async || {
            Ok(ann
                .tickets(order.id)
                .await?
                .first()
                .and_then(|ticket| ticket.code.clone()))
        },
    )
    .await?;
    let before = state_of(&hall).await?;
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
        let refusal = crate::stack::refusal(door.scan(nonsense).await)?;
        ensure!(refusal.0 == 422, "{nonsense}: {refusal:?}");
    }
    // A customer is no organiser, and another organiser's door is another door.
    ensure!(crate::stack::refusal(ann.scan(&code).await)?.0 == 403);
    let other = hall.stack.hall(2, 0).await?;
    refused_with(other.organiser.client.scan(&code).await, 404, "not-found")?;
    ensure!(state_of(&hall).await? == before, "something has changed");
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
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await??;
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
    let event = tests::client::catalog::NewEvent::with_seats("Mine", 10);
    ensure!(crate::stack::refusal(ann.open_event(&event).await)?.0 == 403);
    let publish = crate::stack::refusal(ann.publish_event(hall.event_id).await)?;
    ensure!(matches!(publish.0, 403 | 404), "{publish:?}");
    let settlements = crate::stack::refusal(ann.settlements(hall.event_id).await)?;
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
