//! Hold and order asked of booking directly against pgbench running the same statements on the
//! same Postgres, at equal concurrency. The workers stand still meanwhile, so that neither run
//! pays for what follows an order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stack::{Stack, docker};
use crate::table::Row;

/// The statements of `place_hold` and `place_order`, in booking's order.
const STATEMENTS: &str = include_str!("hold_and_order.sql");
/// Connections of pgbench, and requests under way at booking.
const CONCURRENCY: usize = 8;
/// Length of a run.
const SECONDS: u64 = 8;
/// Runs of each, in turns, so that neither has the quieter machine to itself.
const TURNS: u32 = 2;

/// Measures both.
///
/// # Errors
/// A part did not answer as it should.
pub async fn measure(stack: &Stack) -> anyhow::Result<Row> {
    let workers = stack.stop_all_but(0, "worker").await?;
    let booking = stack.containers(Some("booking")).await?;
    let booking = stack
        .address(booking.first().context("booking does not run")?)
        .await?;
    let (mut ours, mut theirs) = (0_f64, 0_f64);
    for _ in 0..TURNS {
        ours += buy(&booking, put_event(&booking).await?).await?;
        theirs += pgbench(stack, put_event(&booking).await?).await?;
    }
    stack.start(&workers).await?;
    Ok(Row::ratio(
        "hold + order asked of booking directly",
        ours / f64::from(TURNS),
        "pgbench -M prepared, the same statements",
        theirs / f64::from(TURNS),
        0.5,
    ))
}

/// An event with seats enough for a run.
pub async fn put_event(booking: &str) -> anyhow::Result<Uuid> {
    let id = Uuid::now_v7();
    let seating = json!({
        "organiser_id": Uuid::now_v7(), "title": "Benchmark", "venue": "Hall", "currency": "EUR",
        "starts_at": chrono::Utc::now() + chrono::TimeDelta::days(1),
        "payout_account": "4242424242424242",
        "sections": [{"name": "Stalls", "rows": 100, "seats_per_row": 200, "price_minor": 4500}],
    });
    tests::client::http_client()?
        .put(format!("http://{booking}:9000/internal/events/{id}"))
        .json(&seating)
        .send()
        .await?
        .error_for_status()?;
    Ok(id)
}

/// Purchases a second through booking's HTTP door.
async fn buy(booking: &str, event: Uuid) -> anyhow::Result<f64> {
    let http = tests::client::http_client()?;
    let address: Arc<str> = format!("http://{booking}:8080/api/booking").into();
    let started = Instant::now();
    let until = started + Duration::from_secs(SECONDS);
    let buyers = (0..CONCURRENCY).map(|_| {
        let (http, address) = (http.clone(), address.clone());
        tokio::spawn(async move {
            let customer = Uuid::now_v7().to_string();
            let mut bought = 0_u32;
            while Instant::now() < until {
                let hold = json!({"event_id": event, "best": {"count": 2}});
                let hold = post(&http, format!("{address}/holds"), &customer, &hold).await?;
                let order = json!({"hold_id": hold["id"], "card": "4242424242424242"});
                post(&http, format!("{address}/orders"), &customer, &order).await?;
                bought += 1;
            }
            anyhow::Ok(bought)
        })
    });
    let mut bought = 0;
    for buyer in futures_util::future::join_all(buyers).await {
        bought += buyer??;
    }
    Ok(f64::from(bought) / started.elapsed().as_secs_f64())
}

pub async fn post(
    http: &reqwest::Client,
    url: String,
    customer: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    let answer = http
        .post(url)
        .header("x-account-id", customer)
        .header("x-account-role", "customer")
        .header("idempotency-key", Uuid::now_v7().to_string())
        .json(body)
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.json().await?)
}

/// Purchases a second of pgbench. It reports the transactions of its script, which buys once.
async fn pgbench(stack: &Stack, event: Uuid) -> anyhow::Result<f64> {
    let postgres = stack.containers(Some("postgres")).await?;
    let postgres = postgres.first().context("postgres does not run")?;
    let command = format!(
        "cat > /tmp/hold_and_order.sql; \
         PGPASSWORD=$(cat /run/secrets/postgres/booking_password) pgbench --no-vacuum \
         --protocol=prepared --client={CONCURRENCY} --jobs=2 --time={SECONDS} \
         --define=event={event} --file=/tmp/hold_and_order.sql \
         --host=127.0.0.1 --username=booking booking"
    );
    let printed = docker(
        &["exec", "--interactive", postgres, "sh", "-c", &command],
        STATEMENTS,
    )
    .await?;
    printed
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("pgbench printed no rate:\n{printed}"))
}
