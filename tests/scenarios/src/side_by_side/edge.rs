//! What Nginx answers itself: each refusal is a problem as the documents say, with the headers that
//! its status asks for, and the pages for people are there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::{TRIES, generous};
use crate::stack::{Stack, answered};

/// An answer as it came.
struct Answer {
    status: u16,
    /// The lines before the body, in small letters.
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.next()
    }
}

/// Sends these bytes, and reads all that comes of them. They go once more where the answer is 503: a
/// busy machine is no failure.
async fn send(stack: &Stack, request: &str) -> anyhow::Result<Answer> {
    for _ in 1..TRIES {
        let answer = send_once(stack, request).await?;
        if answer.status != 503 {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    send_once(stack, request).await
}

async fn send_once(stack: &Stack, request: &str) -> anyhow::Result<Answer> {
    let host = stack.door.address().trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let deadline = generous(Duration::from_secs(10));
    tokio::time::timeout(deadline, stream.read_to_end(&mut answer)).await??;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&*text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer {
        status: status.with_context(|| format!("no status in {head:.60}"))?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n{headers}\r\n")
}

/// A problem of this kind, with this status.
fn is_problem(answer: &Answer, status: u16, kind: &str) -> anyhow::Result<()> {
    let body: Value = serde_json::from_str(&answer.body)
        .with_context(|| format!("{kind}: {}\n{}", answer.head, answer.body))?;
    ensure!(
        answer.status == status
            && answer.header("content-type") == Some("application/problem+json")
            && body["type"] == format!("/problems/{kind}")
            && body["status"] == status,
        "no {kind}: {}\n{body}",
        answer.head
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn each_refusal_of_nginx_itself_is_a_problem() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let events = "/api/catalog/events";
    let of = async |text: String| send(&stack, &text).await;
    let long = "a".repeat(9_000);
    let twice = "If-None-Match: \"nothing\"\r\nIf-None-Match: \"nothing else\"\r\n";
    for (text, status, kind) in [
        (
            request("GET", &format!("{events}?city={long}"), ""),
            414,
            "path-too-long",
        ),
        (
            request("GET", events, &format!("X-Long: {long}\r\n")),
            431,
            "headers-too-large",
        ),
        (
            request("GET", "/api/catalog%2fevents", ""),
            400,
            "bad-request",
        ),
        (request("GET", events, "no header\r\n"), 400, "bad-request"),
        (request("GET", events, twice), 400, "bad-request"),
        (request("GET", "/api/nothing", ""), 404, "not-found"),
        (
            request("GET", "/api/booking/orders", ""),
            401,
            "unauthorized",
        ),
        (
            format!("GET {events} HTTP/2.0\r\nHost: edge\r\n\r\n"),
            505,
            "http-version",
        ),
    ] {
        is_problem(&of(text).await?, status, kind)?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    for (method, path) in [
        ("POST", "/api/worker/status"),
        ("DELETE", "/api/booking/openapi.json"),
        ("POST", "/api/docs/"),
        ("POST", "/"),
        ("PUT", "/problems"),
        ("TRACE", "/api/booking/orders"),
    ] {
        let answer = send(&stack, &request(method, path, "Content-Length: 0\r\n")).await?;
        is_problem(&answer, 405, "method-not-allowed")?;
        let allowed = answer.header("allow").unwrap_or_default();
        ensure!(
            allowed.contains("get, head") && !allowed.contains(&method.to_lowercase()),
            "{method} {path}: {}",
            answer.head
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_preflight_is_refused_and_no_answer_opens_the_api_to_other_origins() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let origin = "Origin: https://elsewhere.example\r\n";
    let preflight = format!("{origin}Access-Control-Request-Method: POST\r\n");
    for path in [
        "/api/identity/sessions",
        "/api/booking/orders",
        "/api/catalog/events",
    ] {
        let refused = send(&stack, &request("OPTIONS", path, &preflight)).await?;
        is_problem(&refused, 403, "cross-origin")?;
        let plain = send(&stack, &request("OPTIONS", path, "")).await?;
        let allowed = plain.header("allow").unwrap_or_default();
        ensure!(
            plain.status == 204 && allowed.contains("post") && allowed.contains("options"),
            "{path}: {}",
            plain.head
        );
        let read = send(&stack, &request("GET", path, origin)).await?;
        for answer in [refused, plain, read] {
            ensure!(!answer.head.contains("access-control-"), "{}", answer.head);
        }
    }
    Ok(())
}

/// A service has room for a hundred headers, and what it does not read it does not receive.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn many_headers_are_no_reason_for_an_empty_answer() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let many: String = (0..300)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let answer = send(&stack, &request("GET", "/api/catalog/events", &many)).await?;
    ensure!(answer.status == 200, "{}", answer.head);
    Ok(())
}

/// More than an address may have of queries of dashboards.
const IN_FLIGHT: usize = 12;

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_panel_is_not_refused_because_of_other_requests_in_flight() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let nginx = stack.project.one("nginx").await?;
    if nginx.setting("GRAFANA").await?.as_deref() != Some("on") {
        println!("not checked: this stack is without Grafana");
        return Ok(());
    }
    let host = stack.door.address().trim_start_matches("http://");
    let headers = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    let without_body = request("POST", "/api/identity/sessions", headers);
    let mut in_flight = Vec::new();
    for _ in 0..IN_FLIGHT {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(without_body.as_bytes()).await?;
        in_flight.push(stream);
    }
    let query = request("POST", "/grafana/api/ds/query", headers) + "{}";
    let answer = send(&stack, &query).await?;
    ensure!(answer.status != 429, "{}", answer.head);
    drop(in_flight);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn every_problem_stands_on_the_page_of_problems_and_has_a_page() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let door = stack.door.address();
    let get = async |path: &str| {
        let response = answered(stack.door.http().get(format!("{door}{path}"))).await?;
        anyhow::Ok(response.error_for_status()?)
    };
    let page = get("/problems").await?;
    let kind = page.headers().get("content-type");
    ensure!(
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")),
        "{kind:?}"
    );
    let page = page.text().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.context("a page without a name")?;
        let text = std::fs::read_to_string(&path)?;
        let title = text.lines().next().unwrap_or_default();
        let title = title.trim_start_matches("# ");
        let row = format!("<a href=\"/problems/{name}\">{name}</a></td><td>{title}</td>");
        ensure!(page.contains(&row), "no `{row}` in {page}");
        let own = get(&format!("/problems/{name}")).await?.text().await?;
        ensure!(own == text, "{name}: {own}");
        count += 1;
    }
    ensure!(count > 30, "only {count} problems");
    Ok(())
}

/// The page of a stack without Grafana names what there is instead, so no link leads nowhere.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_landing_page_says_where_to_look() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let door = stack.door.address();
    let response = answered(stack.door.http().get(format!("{door}/"))).await?;
    let page = response.error_for_status()?.text().await?;
    for gap in ["@GRAFANA@", "@PORT@"] {
        ensure!(!page.contains(gap), "{gap} was not filled in: {page}");
    }
    let nginx = stack.project.one("nginx").await?;
    let grafana = nginx.setting("GRAFANA").await?.context("GRAFANA")?;
    let there = if grafana == "on" {
        "/grafana/"
    } else {
        "promtool query instant"
    };
    ensure!(page.contains(there), "{page}");
    let links = page.split("href=\"").skip(1);
    for link in links.filter_map(|rest| rest.split('"').next()) {
        let response = answered(stack.door.http().get(format!("{door}{link}"))).await?;
        ensure!(
            response.status().is_success(),
            "{link}: {}",
            response.status()
        );
    }
    Ok(())
}
