//! Bodies that cannot be meant, for every operation of the OpenAPI documents that takes one, sent
//! through the door: each is refused with the right status, none is a 5xx, and nothing has changed.
//!
//! Each operation has a good body here too, which would take effect, and does in the end: otherwise
//! it would be no wonder that nothing changes.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use client::booking::Wanted;
use client::catalog::NewEvent;
use client::{Ask, Client, Method, Operation, OrderState};
use crowd::run_id;
use crowd::visit::cards;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stack::{Hall, Stack, answered, refusal};

const JSON: &str = "application/json";

/// Services with operations for customers and organisers.
const SERVICES: [&str; 3] = ["identity", "catalog", "booking"];

/// A request whose body is exactly these bytes.
pub async fn send(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> anyhow::Result<(StatusCode, Value)> {
    let address = format!("{}{path}", client.door().address());
    let mut request = client
        .door()
        .http()
        .request(method, address)
        .header("idempotency-key", client.next_key())
        .body(body.into());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(session) = client.session() {
        request = request.bearer_auth(&session.token);
    }
    let response = answered(request).await?;
    let status = response.status();
    Ok((status, response.json().await.unwrap_or_default()))
}

/// Sends a body that must be refused with one of these statuses, by a problem.
async fn refused(target: &Target, case: &Case) -> anyhow::Result<()> {
    let mut headers = vec![("content-type", case.kind)];
    headers.extend(target.if_match.as_deref().map(|etag| ("if-match", etag)));
    let method = target.method.clone();
    let body = case.body.clone();
    let (status, answer) = send(&target.by, method, &target.path, &headers, body).await?;
    let is_problem = answer["type"]
        .as_str()
        .is_some_and(|kind| kind.starts_with("/problems/"));
    ensure!(
        case.wanted.contains(&status.as_u16()) && is_problem,
        "{} {}: {}: {status} {answer}",
        target.method,
        target.path,
        case.name
    );
    Ok(())
}

/// A bad body, and the statuses that it may be refused with.
struct Case {
    name: String,
    kind: &'static str,
    body: Vec<u8>,
    wanted: &'static [u16],
}

fn case(name: impl Into<String>, body: impl Into<Vec<u8>>, wanted: &'static [u16]) -> Case {
    Case {
        name: name.into(),
        kind: JSON,
        body: body.into(),
        wanted,
    }
}

/// What is wrong with a body whatever it is for.
fn malformed(good: &Value) -> Vec<Case> {
    let text = good.to_string();
    let field = good.as_object().and_then(|fields| fields.keys().next());
    let field = field.map_or("a", String::as_str);
    let other = |name: &str, kind| Case {
        kind,
        ..case(name, text.clone(), &[415])
    };
    let mut marked = "\u{feff}".to_owned().into_bytes();
    marked.extend(text.bytes());
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fields = good.as_object();
    let values: Vec<_> = fields
        .into_iter()
        .flat_map(|fields| fields.values())
        .collect();
    let unnamed = json!(values).to_string();
    let backwards = json!(values.iter().rev().collect::<Vec<_>>()).to_string();
    let first = good.get(field).unwrap_or(&Value::Null);
    let repeated = format!("{{\"{field}\":{first},{}", &text[1..]);
    let nested = "{\"a\":".repeat(8_000);
    let long = "a".repeat(70_000);
    vec![
        case("empty", "", &[400]),
        case("blank", " \n", &[400]),
        case("truncated", &text[..text.len() - 1], &[400]),
        case("two values", format!("{text}{text}"), &[400]),
        case("a byte order mark", marked, &[400]),
        case("UTF-16", utf16, &[400]),
        case("not UTF-8", b"\"\xff\xfe\"".as_slice(), &[400, 422]),
        case("deeply nested", "[".repeat(30_000), &[400, 422]),
        case(
            "deep within",
            format!("{{\"{field}\":{nested}"),
            &[400, 422],
        ),
        case("oversized", format!("{{\"{field}\":\"{long}\"}}"), &[413]),
        case("a list", "[1,2,3]", &[422]),
        case("its values without their names", unnamed, &[422]),
        case("its values the other way round", backwards, &[422]),
        case("a repeated field", repeated, &[422]),
        case("text", "\"text\"", &[422]),
        case("a number", "7", &[422]),
        case("null", "null", &[422]),
        other("a form", "application/x-www-form-urlencoded"),
        other("plain text", "text/plain"),
    ]
}

/// What is wrong with the fields of an object that takes these and needs some of them.
fn ill_formed(good: &Value, required: &[&str]) -> Vec<Case> {
    let fields = good.as_object().cloned().unwrap_or_default();
    let with = |name: &str, value: Value| {
        let mut fields = fields.clone();
        fields.insert(name.to_owned(), value);
        Value::Object(fields).to_string()
    };
    let mut cases = vec![case("an unknown field", with("discount", json!(1)), &[422])];
    for name in required {
        let mut fields = fields.clone();
        fields.remove(*name);
        let without = Value::Object(fields).to_string();
        cases.push(case(format!("no {name}"), without, &[422]));
    }
    for (name, value) in &fields {
        for wrong in [
            json!(null),
            json!(true),
            json!(1.5),
            json!([[]]),
            json!({"a": {}}),
        ] {
            // Where one of some words is wanted, the reader of JSON calls the rest unreadable.
            let what = format!("{name}: {wrong}");
            cases.push(case(what, with(name, wrong), &[400, 422]));
        }
        if value.is_string() {
            let long = json!("a".repeat(10_000));
            cases.push(case(format!("{name}: long"), with(name, long), &[422]));
        }
        // A password may have any character.
        if value.is_string() && name != "password" {
            let nul = json!("a\u{0}b");
            cases.push(case(format!("{name}: NUL"), with(name, nul), &[422]));
        }
    }
    cases
}

/// An operation with everything that makes a good body of it take effect.
struct Target {
    method: Method,
    path: String,
    by: Client,
    if_match: Option<String>,
    good: Value,
}

/// A good body for an operation of the documents. One that is not known here has to be added.
async fn target(
    hall: &Hall,
    nobody: &(String, String),
    method: Method,
    documented: &str,
) -> anyhow::Result<Target> {
    let (ann, organiser) = (&hall.customers[0], &hall.organiser.client);
    let event = NewEvent::with_seats("Another event", 10);
    let (mut path, mut if_match) = (documented.to_owned(), None);
    let mut at = |id: uuid::Uuid| path = documented.replace("{id}", &id.to_string());
    let (by, good) = match (method.as_str(), documented) {
        ("POST", "/api/identity/accounts") => {
            let (email, password) = nobody;
            let good =
                json!({"email": email, "password": password, "name": "N", "role": "customer"});
            (ann, good)
        }
        ("POST", "/api/identity/sessions") => {
            let (email, password) = nobody;
            (ann, json!({"email": email, "password": password}))
        }
        ("POST", "/api/catalog/events") => (organiser, event.body()),
        ("PUT", "/api/catalog/events/{id}") => {
            let draft = organiser.create_event(organiser.next_key(), &event).await?;
            let own = format!("/api/catalog/my-events/{}", draft.id);
            let read = organiser.insist(&Ask::get(Operation::Browse, own)).await?;
            if_match = Some(read.etag.context("a draft without a version")?);
            at(draft.id);
            let changed = NewEvent::with_seats("Another title", 20);
            (organiser, changed.body())
        }
        ("POST", "/api/booking/holds") => {
            let good = json!({"event_id": hall.event_id, "best": {"count": 1}});
            (ann, good)
        }
        ("POST", "/api/booking/orders") => {
            let hold = ann.hold(hall.event_id, &Wanted::Best(1)).await?;
            (ann, json!({"hold_id": hold.id, "card": cards::FINE}))
        }
        ("POST", "/api/booking/orders/{id}/card") => {
            let order = hall.order(0, cards::DECLINED).await?;
            let bound = Duration::from_secs(10);
            hall.until(0, order.id, OrderState::Declined, bound).await?;
            at(order.id);
            (ann, json!({"card": cards::FINE}))
        }
        ("POST", "/api/booking/scans") => {
            let order = hall.order(0, cards::FINE).await?;
            let code = hall.ticket_code(0, order.id).await?;
            (organiser, json!({"code": code}))
        }
        _ => bail!("{method} {documented} takes a body: say here what a good one is"),
    };
    Ok(Target {
        method,
        by: by.clone(),
        if_match,
        good,
        path,
    })
}

/// The operations of a service's document that take a body, each with the fields that it needs.
async fn operations(stack: &Stack, service: &str) -> anyhow::Result<Vec<(Method, String, Value)>> {
    let address = format!("{}/api/{service}/openapi.json", stack.door.address());
    let response = answered(stack.door.http().get(address)).await?;
    let document: Value = response.error_for_status()?.json().await?;
    let mut found = Vec::new();
    let paths = document["paths"].as_object().context("no paths")?;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let schema = &operation["requestBody"]["content"][JSON]["schema"];
            let Some(reference) = schema["$ref"].as_str() else {
                ensure!(schema.is_null(), "{method} {path}: a body without a name");
                continue;
            };
            let schema = document.pointer(reference.trim_start_matches('#'));
            let required = schema.context("a body that leads nowhere")?["required"].clone();
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            found.push((method, path.clone(), required));
        }
    }
    Ok(found)
}

/// Everything that one of these operations could have changed.
async fn state(hall: &Hall, nobody: &(String, String)) -> anyhow::Result<Value> {
    let organiser = &hall.organiser.client;
    let own = Ask::get(Operation::Browse, "/api/catalog/my-events?limit=100");
    let events = organiser.insist(&own).await?.body;
    let (email, password) = nobody;
    let account = match hall.stack.visitor().sign_in(email, password).await {
        Ok(signed_in) => json!(signed_in.account_id()),
        unknown => json!(refusal(unknown)?),
    };
    Ok(json!([hall.possessions().await?, events, account]))
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn bodies_that_cannot_be_meant_are_refused_by_every_operation_and_change_nothing()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let nobody = (
        format!("nobody-{}@crowd.example", run_id()),
        "a password of nobody".to_owned(),
    );
    let mut sent = 0;
    for service in SERVICES {
        let operations = operations(&stack, service).await?;
        ensure!(!operations.is_empty(), "{service} takes no bodies");
        for (method, path, required) in operations {
            let target = target(&hall, &nobody, method, &path).await?;
            hall.quiet().await?;
            let before = state(&hall, &nobody).await?;
            let required = required.as_array().into_iter().flatten();
            let required: Vec<_> = required.filter_map(Value::as_str).collect();
            let mut cases = malformed(&target.good);
            cases.extend(ill_formed(&target.good, &required));
            for case in &cases {
                refused(&target, case).await?;
            }
            sent += cases.len();
            let after = state(&hall, &nobody).await?;
            ensure!(
                after == before,
                "{} {path} has changed something",
                target.method
            );
            accepted(&target).await?;
        }
    }
    println!("{sent} bodies were refused");
    hall.check(&[2]).await
}

/// The good body takes effect: the bad ones were sent to the right place.
async fn accepted(target: &Target) -> anyhow::Result<()> {
    let mut headers = vec![("content-type", JSON)];
    headers.extend(target.if_match.as_deref().map(|etag| ("if-match", etag)));
    let (method, body) = (target.method.clone(), target.good.to_string());
    let (status, answer) = send(&target.by, method, &target.path, &headers, body).await?;
    ensure!(
        status.is_success(),
        "{} {}: a good body: {status} {answer}",
        target.method,
        target.path
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn holds_that_cannot_be_meant_are_refused_and_change_nothing() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let before = hall.possessions().await?;
    let event = hall.event_id;
    let best = |count: Value| json!({"event_id": event, "best": {"count": count}}).to_string();
    let huge = format!(r#"{{"event_id":"{event}","best":{{"count":1e400}}}}"#);
    let odd = json!([{"section": "a\u{0}", "row": "1", "number": 1}]);
    let both = json!({"event_id": event, "best": {"count": 1}, "seats": []});
    let cases = [
        case("a count that is text", best(json!("1")), &[422]),
        case("a negative count", best(json!(-1)), &[422]),
        case("none", best(json!(0)), &[422]),
        case("too many", best(json!(11)), &[422]),
        case("a huge number", huge, &[400, 422]),
        case("seats and best", both.to_string(), &[422]),
        case(
            "no seats",
            json!({"event_id": event, "seats": []}).to_string(),
            &[422],
        ),
        case(
            "a NUL in a name",
            json!({"event_id": event, "seats": odd}).to_string(),
            &[422],
        ),
    ];
    let target = Target {
        method: Method::POST,
        path: "/api/booking/holds".to_owned(),
        by: hall.customers[0].clone(),
        if_match: None,
        good: Value::Null,
    };
    for case in &cases {
        refused(&target, case).await?;
    }
    ensure!(hall.possessions().await? == before, "something has changed");
    hall.check(&[2, 3, 4]).await
}
