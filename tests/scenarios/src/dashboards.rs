//! Every panel of every dashboard: its queries run against the live Prometheus and return data,
//! each metric that they name is there, and the panel has a unit and a description. The queries of
//! marks run as well, but may find nothing: they stand where something happened.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use checkers::Witnesses;
use client::OrderState;
use crowd::visit::cards;
use crowd::{Plan, run};
use serde_json::Value;

use crate::deadline::TRIES;
use crate::stack::{Stack, answered};

/// How long it may take until the last panel has data: some scrapes, and the longest rate. After that
/// what happened may be too old for a rate, so it happens once more.
const BOUND: Duration = Duration::from_secs(30);

/// Metrics that appear with the first failure that they count, and that no healthy stack has.
const ONLY_AFTER_FAILURES: [&str; 1] = ["transaction_retries_total"];

/// Words of the query language where a metric could stand.
const WORDS: [&str; 13] = [
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "unless",
    "without",
];

/// A panel that shows data.
struct Panel {
    name: String,
    unit: Option<String>,
    description: Option<String>,
    kind: String,
    queries: Vec<String>,
}

fn dashboards() -> anyhow::Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../grafana/dashboards");
    let mut dashboards = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        dashboards.push(serde_json::from_str(&std::fs::read_to_string(&path)?)?);
    }
    Ok(dashboards)
}

fn panels() -> anyhow::Result<Vec<Panel>> {
    let mut panels = Vec::new();
    for dashboard in dashboards()? {
        let title = dashboard["title"].as_str().unwrap_or_default();
        collect(&dashboard["panels"], title, &mut panels);
    }
    Ok(panels)
}

/// The names and queries of all marks.
fn marks() -> anyhow::Result<Vec<(String, String)>> {
    let mut marks = Vec::new();
    for dashboard in dashboards()? {
        let list = dashboard["annotations"]["list"].as_array();
        for mark in list.into_iter().flatten() {
            let name = format!("{} / mark {}", dashboard["title"], mark["name"]);
            let query = mark["target"]["expr"].as_str();
            let query = query.with_context(|| format!("{name} asks nothing"))?;
            marks.push((name, substituted(query)));
        }
    }
    Ok(marks)
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

/// The metrics that a query names: words that are neither labels nor functions nor part of the
/// language.
fn metrics(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = query;
    // Labels stand in braces, and in brackets after some words.
    let (mut in_braces, mut labels_follow) = (false, false);
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        let length = match first {
            '[' => past(rest, ']'),
            '"' => 1 + past(&rest[1..], '"'),
            '(' if labels_follow => past(rest, ')'),
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        if is_part(first) && !first.is_ascii_digit() {
            labels_follow = matches!(
                word,
                "by" | "without" | "on" | "ignoring" | "group_left" | "group_right"
            );
            // A function has arguments; what sums up may first be told by which labels.
            let next = after.trim_start();
            let is_function = ["(", "by ", "by(", "without ", "without("]
                .iter()
                .any(|begin| next.starts_with(begin));
            if !in_braces && !is_function && !WORDS.contains(&word) {
                found.insert(word.to_owned());
            }
        } else if !first.is_whitespace() {
            labels_follow = false;
            in_braces = first == '{' || (in_braces && first != '}');
        }
    }
    found
}

/// How long `text` is up to the end of what begins it.
fn past(text: &str, end: char) -> usize {
    text.find(end).map_or(text.len(), |at| at + end.len_utf8())
}

#[test]
fn the_metrics_of_a_query_are_told_from_everything_else_in_it() {
    let cases = [
        ("max(nginx_up)", vec!["nginx_up"]),
        (
            r#"sum by (job, status) (rate(a_total{job=~"b|c",x="}"}[1m])) or on () label_replace(vector(0), "job", "none", "", "")"#,
            vec!["a_total"],
        ),
        (
            "sum (rate(a_count[5m])) by (le) / on (job, instance) group_left () b_limit > 0",
            vec!["a_count", "b_limit"],
        ),
        ("time() - max(max_over_time(up[15m]))", vec!["up"]),
        ("60 * (sum(rate(a:b[1m])) or vector(0))", vec!["a:b"]),
        (
            r#"1000 * max_over_time((time() + 0 * (a{b="c"} unless on (d) last_over_time(e[30s] offset 5s) == 1))[5m:5s])"#,
            vec!["a", "e"],
        ),
    ];
    for (query, wanted) in cases {
        let found: Vec<_> = metrics(query).into_iter().collect();
        assert_eq!(found, wanted, "{query}");
    }
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
    let queries: Vec<_> = panels()?
        .into_iter()
        .flat_map(|panel| {
            let name = panel.name;
            let queries = panel.queries.into_iter();
            queries.map(move |query| (name.clone(), substituted(&query)))
        })
        .collect();
    let mut empty = queries.clone();
    for _ in 0..TRIES {
        something_of_everything(&stack).await?;
        empty = without_data(&stack, empty).await?;
        if empty.is_empty() {
            break;
        }
    }
    ensure!(empty.is_empty(), "queries without data: {empty:#?}");

    let marks = marks()?;
    ensure!(marks.len() >= 4, "only {} marks", marks.len());
    for (name, query) in &marks {
        let answer = has_data(&stack, query).await;
        answer.with_context(|| name.clone())?;
    }

    // A query may give a value where nothing is counted, and a mark nothing where nothing happened;
    // then their metrics have to be there.
    let there = metric_names(&stack).await?;
    let unknown: Vec<_> = queries
        .iter()
        .chain(&marks)
        .flat_map(|(name, query)| metrics(query).into_iter().map(move |one| (name, one)))
        .filter(|(_, one)| !there.contains(one) && !ONLY_AFTER_FAILURES.contains(&one.as_str()))
        .collect();
    ensure!(unknown.is_empty(), "nobody has these metrics: {unknown:#?}");
    Ok(())
}

/// Makes happen what the panels show: a crowd, a declined card, a cancellation, a scanned ticket.
async fn something_of_everything(stack: &Stack) -> anyhow::Result<()> {
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
    let code = hall.ticket_code(0, order.id).await?;
    hall.organiser.client.scan(&code).await?;
    Ok(())
}

/// The queries that have no data within [`BOUND`], which all of them share: those that have none so far
/// are asked again and again.
async fn without_data(
    stack: &Stack,
    mut empty: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    let began = Instant::now();
    loop {
        let asked = std::mem::take(&mut empty);
        for (name, query) in asked {
            if !has_data(stack, &query).await? {
                empty.push((name, query));
            }
        }
        if empty.is_empty() || began.elapsed() > BOUND {
            return Ok(empty);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What the HTTP API of Prometheus answers at this path.
async fn prometheus(stack: &Stack, path: &str) -> anyhow::Result<Value> {
    let address = format!("{}/api/v1/{path}", stack.prometheus);
    let answer = answered(stack.door.http().get(address)).await?;
    Ok(answer.json().await?)
}

/// The names of all metrics that Prometheus has.
async fn metric_names(stack: &Stack) -> anyhow::Result<BTreeSet<String>> {
    let answer = prometheus(stack, "label/__name__/values").await?;
    Ok(serde_json::from_value(answer["data"].clone())?)
}

/// Whether the query returns at least one sample that is a number.
async fn has_data(stack: &Stack, query: &str) -> anyhow::Result<bool> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = prometheus(stack, &format!("query?query={encoded}")).await?;
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
