//! Leader killed, and leader stopped, until the next leader's first effect.
//!
//! An effect is seen in booking's database: an outbox row whose token is newer than that of the
//! leader that went. An order is placed before each fault, so that there is always something to do.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::stack::{Stack, docker};
use crate::table::Row;

/// How often each.
const TIMES: usize = 10;
/// The default lease, in seconds.
const LEASE: f64 = 5.0;
/// Longer than any failover may take.
const BOUND: Duration = Duration::from_secs(30);

/// Measures both kinds.
///
/// # Errors
/// A part did not answer as it should.
pub async fn measure(stack: &Stack) -> anyhow::Result<Vec<Row>> {
    let mut killed = Vec::new();
    let mut stopped = Vec::new();
    for _ in 0..TIMES {
        killed.push(once(stack, &["kill"]).await?);
        stopped.push(once(stack, &["stop"]).await?);
    }
    Ok(vec![
        row(
            "leader killed to the next leader's first effect",
            killed,
            LEASE + 2.0,
        ),
        row(
            "leader stopped (SIGTERM) to the next leader's first effect",
            stopped,
            1.0,
        ),
    ])
}

fn row(what: &str, mut seconds: Vec<f64>, bound: f64) -> Row {
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    let longest = seconds.last().copied().unwrap_or(f64::INFINITY);
    let note = format!("longest of {TIMES}; median {median:.2} s");
    Row::at_most(what, longest, "s", bound, &note)
}

async fn once(stack: &Stack, fault: &[&str]) -> anyhow::Result<f64> {
    let url = crate::setting("DATABASE_URL")?;
    let (server, _) = url
        .rsplit_once('/')
        .context("DATABASE_URL names no database")?;
    let mut database = PgConnection::connect(&format!("{server}/booking")).await?;
    let (token, leader): (i64, String) = sqlx::query_as("SELECT token, holder FROM leader_fence")
        .fetch_one(&mut database)
        .await?;
    let containers = stack.containers(Some("worker")).await?;
    let leader = containers
        .iter()
        .find(|container| leader.len() >= 12 && container.starts_with(&leader[..12]))
        .with_context(|| format!("no container is the leader {leader}"))?;
    let booking = stack.containers(Some("booking")).await?;
    let booking = stack
        .address(booking.first().context("booking does not run")?)
        .await?;
    let hold = place_hold(&booking).await?;

    let arguments: Vec<&str> = fault.iter().copied().chain([leader.as_str()]).collect();
    let started = Instant::now();
    let gone = docker(&arguments, "");
    let seen = async {
        // The order comes after the fault has begun: the former leader cannot have sent it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        place_order(&booking, hold).await?;
        loop {
            let newest: Option<i64> = sqlx::query_scalar("SELECT max(fence_token) FROM outbox")
                .fetch_one(&mut database)
                .await?;
            if newest.is_some_and(|newest| newest > token) {
                return anyhow::Ok(started.elapsed().as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (gone, seen) = tokio::join!(gone, tokio::time::timeout(BOUND, seen));
    gone?;
    stack.start(&[leader.clone()]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    seen?
}

/// A customer with a hold at booking.
struct Held {
    customer: Uuid,
    hold: Uuid,
}

async fn place_hold(booking: &str) -> anyhow::Result<Held> {
    let event = crate::booking::put_event(booking).await?;
    let customer = Uuid::now_v7();
    let http = tests::client::http_client()?;
    let body = json!({"event_id": event, "best": {"count": 1}});
    let url = format!("http://{booking}:8080/api/booking/holds");
    let hold = crate::booking::post(&http, url, &customer.to_string(), &body).await?;
    let hold = hold["id"].as_str().context("a hold has an id")?.parse()?;
    Ok(Held { customer, hold })
}

async fn place_order(booking: &str, held: Held) -> anyhow::Result<()> {
    let http = tests::client::http_client()?;
    let body = json!({"hold_id": held.hold, "card": "4242424242424242"});
    let url = format!("http://{booking}:8080/api/booking/orders");
    crate::booking::post(&http, url, &held.customer.to_string(), &body).await?;
    Ok(())
}
