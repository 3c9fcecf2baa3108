//! The OpenAPI documents as the edge serves them: each is valid, no two operations of all of them share
//! an id, and their examples buy a ticket with the demo accounts.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use client::{Ask, Client, Hold, Operation, Order, OrderState, Session};
use crowd::run_id;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use crate::deadline::generous;
use crate::stack::{Stack, answered, eventually};

/// Services with a document at the edge.
const SERVICES: [&str; 5] = ["identity", "catalog", "booking", "worker", "bank"];

/// How long a document may take to be validated.
const VALIDATED_WITHIN: Duration = generous(Duration::from_secs(15));

async fn document(stack: &Stack, service: &str) -> anyhow::Result<Value> {
    let address = format!("{}/api/{service}/openapi.json", stack.door.address());
    let response = answered(stack.door.http().get(address)).await?;
    Ok(response.error_for_status()?.json().await?)
}

/// The operations of a document: id, path, and what it says of each.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(_, operation)| {
            let id = operation["operationId"].as_str().unwrap_or_default();
            (id, path.as_str(), operation)
        })
    })
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn every_document_is_valid_and_no_operation_of_all_shares_its_id() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let folder = std::env::temp_dir().join(format!("documents-{}", run_id()));
    std::fs::create_dir_all(&folder)?;
    let mut ids = HashMap::new();
    for service in SERVICES {
        let document = document(&stack, service).await?;
        let file = folder.join(format!("{service}.json"));
        std::fs::write(&file, document.to_string())?;
        let validating = Command::new("openapi-spec-validator")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(VALIDATED_WITHIN, validating)
            .await
            .with_context(|| format!("{service} is not validated within {VALIDATED_WITHIN:?}"))?
            .context("openapi-spec-validator is not there")?;
        ensure!(
            output.status.success(),
            "{service}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let mut found = 0;
        for (id, path, _) in operations(&document) {
            found += 1;
            if let Some(other) = ids.insert(id.to_owned(), path.to_owned()) {
                bail!("{id} is an operation of {other} and of {path}");
            }
        }
        ensure!(found > 0, "{service} documents no operation");
        // The edge passes on what its documents offer there, and nothing to the bank.
        let server = &document["servers"][0]["url"];
        ensure!(
            (*server == "/") == (service != "bank"),
            "{service}: {server}"
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// What a document says of an operation, and its path.
fn operation<'a>(document: &'a Value, id: &str) -> anyhow::Result<(&'a str, &'a Value)> {
    let mut operations = operations(document);
    let found = operations.find(|(name, ..)| *name == id);
    let (_, path, operation) = found.with_context(|| format!("no operation {id}"))?;
    Ok((path, operation))
}

/// An example of a body: the one with this name, or the only one.
fn body(operation: &Value, name: &str) -> anyhow::Result<Value> {
    let content = &operation["requestBody"]["content"]["application/json"];
    let example = content.get("example");
    let named = content.pointer(&format!("/examples/{name}/value"));
    example.or(named).cloned().context("no example of a body")
}

/// Sends an example of a document to its operation, with other ids where it can only have a place for
/// them.
async fn send<T: DeserializeOwned>(
    client: &Client,
    document: &Value,
    (id, example, about): (&str, &str, Operation),
    ids: &[(&str, Uuid)],
) -> anyhow::Result<T> {
    let (path, operation) = operation(document, id)?;
    let mut body = body(operation, example)?;
    for (field, given) in ids {
        let place = body.get_mut(*field);
        *place.with_context(|| format!("the example of {id} has no {field}"))? = json!(given);
    }
    let ask = Ask::post(about, path).key(client.next_key()).json(body);
    Ok(client.read(&ask).await?)
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_examples_of_the_documents_buy_a_ticket_with_the_demo_accounts() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let visitor = stack.visitor();
    let (identity, catalog, booking) = (
        document(&stack, "identity").await?,
        document(&stack, "catalog").await?,
        document(&stack, "booking").await?,
    );
    let sign_in = async |example| {
        let asked = ("sign_in", example, Operation::SignIn);
        let session: Session = send(&visitor, &identity, asked, &[]).await?;
        anyhow::Ok(visitor.clone().with_session(session))
    };
    let (alice, organiser) = (sign_in("customer").await?, sign_in("organiser").await?);

    let (_, list) = operation(&catalog, "list_events")?;
    let mut parameters = list["parameters"].as_array().into_iter().flatten();
    let city = parameters.find(|parameter| parameter["name"] == "city");
    let city = city.and_then(|city| city["example"].as_str());
    let city = city.context("no example of a city")?;
    let events = visitor.events_in(city, 1).await?.items;
    let event_id = events
        .first()
        .with_context(|| format!("no event in {city}"))?
        .id;

    let event = [("event_id", event_id)];
    let seats = ("place_hold", "seats", Operation::PlaceHold);
    let hold: Hold = send(&alice, &booking, seats, &event).await?;
    alice.release(hold.id).await?;
    let best = ("place_hold", "best", Operation::PlaceHold);
    let hold: Hold = send(&alice, &booking, best, &event).await?;
    let order = ("place_order", "", Operation::PlaceOrder);
    let order: Order = send(&alice, &booking, order, &[("hold_id", hold.id)]).await?;
    let bound = Duration::from_secs(10);
    eventually(bound, "the order is paid", async || {
        let order = alice.read_order(order.id).await?;
        Ok((order.state == OrderState::Paid).then_some(()))
    })
    .await?;

    let create = ("create_event", "", Operation::CreateEvent);
    let draft: Value = send(&organiser, &catalog, create, &[]).await?;
    ensure!(draft["state"] == "draft", "{draft}");
    Ok(())
}
