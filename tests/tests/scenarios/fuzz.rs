//! Every endpoint of the OpenAPI documents, fuzzed through the door by schemathesis: no answer is
//! a 5xx, nothing panics, and afterwards the box office sells as before.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::Utc;
use tests::client::OrderState;
use tests::crowd::visit::cards;
use tokio::process::Command;

use crate::stack::{Stack, eventually};

/// How long one document may take.
const BOUND: Duration = Duration::from_secs(150);

/// Inputs an operation; the documentation says how to ask for more.
const EXAMPLES: &str = "15";

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
    let mut failures = Vec::new();
    for (service, role) in DOCUMENTS {
        let client = match role {
            Role::Customer => &hall.customers[0],
            Role::Organiser => &hall.organiser.client,
        };
        let token = &client.session().context("no session")?.token;
        let door = stack.door.address();
        let fuzzing = Command::new("schemathesis")
            .args([
                "run",
                &format!("{door}/api/{service}/openapi.json"),
                "--url",
                door,
            ])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            // Signing out would end the session that the others are asked with.
            .args(["--exclude-path", "/api/identity/sessions/current"])
            .args(["--exclude-path-regex", "^/internal/"])
            .args([
                "--checks",
                "not_a_server_error",
                "--max-examples",
                &examples,
            ])
            .args(["--seed", "7", "--generation-deterministic", "--no-color"])
            .args(["--request-timeout", "12", "--workers", "2"])
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(BOUND, fuzzing)
            .await
            .with_context(|| format!("{service}: schemathesis took longer than {BOUND:?}"))?
            .context("schemathesis is not there")?;
        let text = String::from_utf8_lossy(&output.stdout);
        println!(
            "{service} as {role:?}: {}",
            text.lines().last().unwrap_or_default()
        );
        if !output.status.success() {
            let end: Vec<_> = text.lines().rev().take(80).collect();
            let end: Vec<_> = end.into_iter().rev().collect();
            failures.push(format!("{service} as {role:?}:\n{}", end.join("\n")));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    for service in ["identity", "catalog", "booking", "worker", "bank"] {
        for container in stack.project.containers(service).await? {
            let log = container.logs(began).await?;
            ensure!(!log.contains("panicked"), "{} panicked", container.name());
        }
    }
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    let ledger = eventually(
        Duration::from_secs(20),
        "ledger and bank agree",
        async || {
            let (ledger, balance) = (stack.booking.ledger().await?, stack.bank.balance().await?);
            Ok((tests::checkers::money::net(&balance) == ledger.bank_minor).then_some(ledger))
        },
    )
    .await?;
    ensure!(ledger.sum_minor == 0, "{ledger:?}");
    Ok(())
}
