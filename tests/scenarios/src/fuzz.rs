//! Every endpoint of the OpenAPI documents, fuzzed through the door by schemathesis: no answer is
//! a 5xx, each is one that the document names, nothing panics, afterwards the box office sells as
//! before, and nothing of other people's has changed. Paths name a real event, hold, order and
//! ticket, so that inputs get past the 404.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::Utc;
use client::OrderState;
use client::booking::Wanted;
use crowd::visit::cards;
use tokio::process::Command;

use crate::deadline::{TRIES, generous};
use crate::stack::{Hall, Stack, eventually};

/// How long all documents together may take.
const BOUND: Duration = generous(Duration::from_secs(200));

/// Inputs an operation, unless `FUZZ_EXAMPLES` says otherwise.
const EXAMPLES: &str = "40";

/// What each answer must be.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance";

/// Services with a document, and the role that their operations are fuzzed as.
const DOCUMENTS: [(&str, Role); 5] = [
    ("identity", Role::Customer),
    ("catalog", Role::Organiser),
    ("booking", Role::Customer),
    ("booking", Role::Organiser),
    ("worker", Role::Customer),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Customer,
    Organiser,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn no_input_makes_an_endpoint_fail_or_panic() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let began = Utc::now().timestamp();
    let hall = stack.hall(40, 1).await?;
    let examples = std::env::var("FUZZ_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let folder = std::env::temp_dir().join(format!("fuzz-{}", crowd::run_id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("ids.toml"), ids(&hall).await?)?;
    // Somebody else's: nothing that is sent with these sessions may touch it.
    let untouched = stack.hall(10, 1).await?;
    untouched.order(0, cards::FINE).await?;
    untouched.quiet().await?;
    let before = untouched.possessions().await?;
    let deadline = Instant::now() + BOUND;
    let mut failures = Vec::new();
    for (service, role) in DOCUMENTS {
        let client = match role {
            Role::Customer => &hall.customers[0],
            Role::Organiser => &hall.organiser.client,
        };
        let token = &client.session().context("no session")?.token;
        let door = stack.door.address();
        let mut tries = 0;
        let (is_good, text) = loop {
            tries += 1;
            let fuzzing = Command::new("schemathesis")
                // It leaves a cache where it runs.
                .current_dir(&folder)
                .args(["--config-file", "ids.toml", "run"])
                .arg(format!("{door}/api/{service}/openapi.json"))
                .args([
                    "--url",
                    door,
                    "--header",
                    &format!("Authorization: Bearer {token}"),
                ])
                // Signing out would end the session that the others are asked with.
                .args(["--exclude-path", "/api/identity/sessions/current"])
                .args(["--checks", CHECKS, "--max-examples", &examples])
                .args(["--seed", "7", "--generation-deterministic", "--no-color"])
                .args(["--request-timeout", "12", "--workers", "2"])
                .kill_on_drop(true)
                .output();
            let began = Instant::now();
            let output = tokio::time::timeout_at(deadline.into(), fuzzing)
                .await
                .with_context(|| format!("not all documents within {BOUND:?}: {service} is left"))?
                .context("schemathesis is not there")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            println!(
                "{service} as {role:?}, {:?}: {}",
                began.elapsed(),
                text.lines().last().unwrap_or_default()
            );
            // The inputs are the same each time, so what an input breaks breaks again. A part that a
            // busy machine delayed answers 503 once.
            let is_busy = text.contains("[503]") && !text.contains("[500]");
            if output.status.success() || !is_busy || tries == TRIES {
                break (output.status.success(), text);
            }
        };
        if !is_good {
            let end: Vec<_> = text.lines().rev().take(80).collect();
            let end: Vec<_> = end.into_iter().rev().collect();
            failures.push(format!("{service} as {role:?}:\n{}", end.join("\n")));
        }
    }
    std::fs::remove_dir_all(&folder)?;
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    for service in ["identity", "catalog", "booking", "worker", "bank"] {
        for container in stack.project.containers(service).await? {
            let log = container.logs(began).await?;
            ensure!(!log.contains("panicked"), "{} panicked", container.name());
        }
    }
    ensure!(
        untouched.possessions().await? == before,
        "what belongs to others has changed"
    );
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    let ledger = eventually(
        Duration::from_secs(20),
        "ledger and bank agree",
        async || {
            let (ledger, balance) = (stack.booking.ledger().await?, stack.bank.balance().await?);
            Ok((checkers::money::net(&balance) == ledger.bank_minor).then_some(ledger))
        },
    )
    .await?;
    ensure!(ledger.sum_minor == 0, "{ledger:?}");
    Ok(())
}

/// The names of what is really there, for the paths.
async fn ids(hall: &Hall) -> anyhow::Result<String> {
    let ann = &hall.customers[0];
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    let ticket = ann
        .tickets(order.id)
        .await?
        .first()
        .context("no ticket")?
        .id;
    let hold = ann.hold(hall.event_id, &Wanted::Best(1)).await?;
    let mut text = format!("[parameters]\nevent_id = \"{}\"\n", hall.event_id);
    for (path, id) in [
        ("/holds/", hold.id),
        ("/orders/", order.id),
        ("/tickets/", ticket),
        ("/catalog/", hall.event_id),
    ] {
        text.push_str(&format!(
            "[[operations]]\ninclude-path-regex = \"{path}\"\nparameters = {{ id = \"{id}\" }}\n"
        ));
    }
    Ok(text)
}
