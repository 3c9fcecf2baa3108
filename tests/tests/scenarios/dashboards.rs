//! Every panel of every dashboard: its queries run against the live Prometheus and return data,
//! and it has a unit and a description.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::checkers::Witnesses;
use tests::client::OrderState;
use tests::crowd::visit::cards;
use tests::crowd::{Plan, run};

use crate::stack::{Stack, eventually};

/// A panel that shows data.
struct Panel {
    name: String,
    unit: Option<String>,
    description: Option<String>,
    kind: String,
    queries: Vec<String>,
}

fn panels() -> anyhow::Result<Vec<Panel>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/dashboards");
    let mut panels = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let dashboard: Value = serde_json::from_str(&text)?;
        let title = dashboard["title"].as_str().unwrap_or_default().to_owned();
        collect(&dashboard["panels"], &title, &mut panels);
    }
    Ok(panels)
}

fn collect(list: &Value, dashboard: &str, panels: &mut Vec<Panel>) {
    for panel in list.as_array().into_iter().flatten() {
        // Rows hold panels of their own.
        collect(&panel["panels"], dashboard, panels);
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let kind = text(&panel["type"]).unwrap_or_default();
        let targets = panel["targets"].as_array().into_iter().flatten();
        let queries: Vec<_> = targets.filter_map(|target| text(&target["expr"])).collect();
        if matches!(kind.as_str(), "row" | "text" | "dashlist") {
            continue;
        }
        panels.push(Panel {
            name: format!(
                "{dashboard} / {}",
                panel["title"].as_str().unwrap_or_default()
            ),
            unit: text(&panel["fieldConfig"]["defaults"]["unit"]),
            description: text(&panel["description"]),
            kind,
            queries,
        });
    }
}

/// What Grafana puts in the place of its own variables.
fn substituted(query: &str) -> String {
    query
        .replace("$__rate_interval", "1m")
        .replace("${__rate_interval}", "1m")
        .replace("$__interval", "15s")
        .replace("$__range", "15m")
}

#[test]
fn every_panel_has_a_unit_a_description_and_a_query() -> anyhow::Result<()> {
    let panels = panels()?;
    ensure!(panels.len() >= 30, "only {} panels", panels.len());
    for panel in panels {
        ensure!(!panel.queries.is_empty(), "{} asks nothing", panel.name);
        ensure!(
            panel.description.is_some(),
            "{} has no description",
            panel.name
        );
        ensure!(
            panel.unit.is_some(),
            "{} ({}) has no unit",
            panel.name,
            panel.kind
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn every_panel_of_every_dashboard_has_data() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    // Something of everything must have happened lately: a crowd, a declined card, a cancellation,
    // a ticket at the door.
    let plan = Plan {
        customers: 20,
        seats: 60,
        time: Duration::from_secs(15),
        seed: 3,
        concurrency: 8,
        witnesses: Witnesses::default(),
        payout_account: cards::FINE.to_owned(),
    };
    run(stack.door.clone(), &plan, &()).await?;
    let hall = stack.hall(20, 1).await?;
    let declined = hall.order(0, cards::DECLINED).await?;
    hall.until(
        0,
        declined.id,
        OrderState::Declined,
        Duration::from_secs(10),
    )
    .await?;
    hall.customers[0].cancel(declined.id).await?;
    let order = hall.order(0, cards::FINE).await?;
    let code = eventually(
        Duration::from_secs(20),
        "the ticket is rendered",
        async || {
            let tickets = hall.customers[0].tickets(order.id).await?;
            Ok(tickets.first().and_then(|ticket| ticket.code.clone()))
        },
    )
    .await?;
    hall.organiser.client.scan(&code).await?;

    let mut empty = Vec::new();
    for panel in panels()? {
        for query in panel.queries {
            let query = substituted(&query);
            let asked = eventually(Duration::from_secs(20), &panel.name, async || {
                Ok(has_data(&stack, &query).await?.then_some(()))
            });
            if let Err(error) = asked.await {
                empty.push(format!("{error:#}\n      {query}"));
            }
        }
    }
    ensure!(
        empty.is_empty(),
        "{} queries without data:\n  {}",
        empty.len(),
        empty.join("\n  ")
    );
    Ok(())
}

/// Whether the query returns at least one sample that is a number.
async fn has_data(stack: &Stack, query: &str) -> anyhow::Result<bool> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let address = format!("{}/api/v1/query?query={encoded}", stack.prometheus);
    let answer: Value = stack.door.http().get(address).send().await?.json().await?;
    ensure!(answer["status"] == "success", "{}", answer["error"]);
    let samples = answer["data"]["result"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(samples.iter().any(|sample| {
        let value = sample["value"][1]
            .as_str()
            .and_then(|text| text.parse::<f64>().ok());
        value.is_some_and(f64::is_finite)
    }))
}
