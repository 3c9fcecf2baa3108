//! Hold and order asked of booking directly against pgbench running the same statements on the
//! same Postgres, at equal concurrency. The workers stand still meanwhile, so that neither run
//! pays for what follows an order.

#[cfg(test)]
mod statements;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{TimeDelta, Utc};
use client::internal::CALLER_KEY;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::processors::Processors;
use crate::stack::Stack;
use crate::table::Rates;

/// The statements of `place_hold` and `place_order`, in booking's order.
const STATEMENTS: &str = include_str!("hold_and_order.sql");
/// Connections of pgbench, and customers who buy at booking.
const CONCURRENCY: usize = 8;
/// Length of a run.
const RUN: Duration = Duration::from_secs(5);
/// Length of the run before each that is not counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// Runs of each, in turns, and each goes first in every other one.
const TURNS: u32 = 3;
/// Orders that the workers are left with afterwards.
const LEFT: i64 = 500;
/// How long they may take to settle them.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// Measures both.
///
/// # Errors
/// A part did not answer as it should.
pub async fn measure(stack: &Stack) -> anyhow::Result<Rates> {
    let workers = stack.project.containers("worker").await?;
    let stops = workers
        .iter()
        .map(|worker| worker.stop(Duration::from_secs(10)));
    try_join_all(stops).await?;
    let mut database = stack.database().await?;
    let mut rates = Rates::default();
    for turn in 0..TURNS {
        for ours in [turn % 2 == 0, turn % 2 == 1] {
            tidy(&mut database).await?;
            if ours {
                purchases(stack, WARM_UP).await?;
                let before = Processors::read(stack).await?;
                rates.ours += purchases(stack, RUN).await? / f64::from(TURNS);
                let after = Processors::read(stack).await?;
                rates.processors.add_between(&before, &after);
            } else {
                pgbench(stack, WARM_UP).await?;
                rates.theirs += pgbench(stack, RUN).await? / f64::from(TURNS);
            }
        }
    }
    Ok(rates)
}

/// Leaves nothing to a run of what the run before it has to pay for.
async fn tidy(database: &mut PgConnection) -> anyhow::Result<()> {
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *database)
            .await?;
    }
    Ok(())
}

/// Forgets most of the orders that nobody settled, and waits until the workers have settled the
/// rest: so that they and the bank have worked before memory is read again, and rest when it is.
///
/// # Errors
/// They do not come to an end.
pub async fn settle(stack: &Stack) -> anyhow::Result<()> {
    stack.project.heal(crate::HEAL_BOUND).await?;
    let mut database = stack.database().await?;
    // The newest are booking's own: pgbench's ids begin with zeros.
    sqlx::query(
        "DELETE FROM outbox WHERE delivered_at IS NULL AND id NOT IN
            (SELECT id FROM outbox WHERE delivered_at IS NULL ORDER BY id DESC LIMIT $1)",
    )
    .bind(LEFT)
    .execute(&mut database)
    .await?;
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND dead_at IS NULL",
        )
        .fetch_one(&mut database)
        .await?;
        if left == 0 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{left} rows are still to be delivered"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A new event of one section, at booking itself.
///
/// # Errors
/// booking refused it.
pub async fn put_event(booking: &str, rows: u32, seats_per_row: u32) -> anyhow::Result<Uuid> {
    let id = Uuid::now_v7();
    let seating = json!({
        "organiser_id": Uuid::now_v7(), "title": "Benchmark", "venue": "Hall", "currency": "EUR",
        "starts_at": Utc::now() + TimeDelta::days(1),
        "payout_account": "4242424242424242",
        "sections": [{
            "name": "Stalls", "rows": rows, "seats_per_row": seats_per_row, "price_minor": 4500,
        }],
    });
    client::http_client()?
        .put(format!("http://{booking}:9000/internal/events/{id}"))
        .header(CALLER_KEY, client::secret("catalog/booking_key")?)
        .json(&seating)
        .send()
        .await?
        .error_for_status()?;
    Ok(id)
}

/// The largest hall there is.
async fn put_hall(booking: &str) -> anyhow::Result<Uuid> {
    put_event(booking, 100, 200).await
}

/// Holds and orders at booking, past the door, each time as another customer: an account keeps only so
/// many seats that it has not paid for.
#[derive(Clone, Debug)]
pub struct Buyer {
    http: reqwest::Client,
    address: String,
    key: String,
    event: Uuid,
    seats: u32,
}

impl Buyer {
    /// What buys so many `seats` at a time.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn at(booking: &str, event: Uuid, seats: u32) -> anyhow::Result<Self> {
        Ok(Self {
            http: client::http_client()?,
            address: format!("http://{booking}:8080/api/booking"),
            key: client::secret("nginx/booking_key")?,
            event,
            seats,
        })
    }

    /// Holds the best seats and orders them.
    ///
    /// # Errors
    /// booking refused.
    pub async fn buy(&self) -> anyhow::Result<()> {
        let hold = json!({"event_id": self.event, "best": {"count": self.seats}});
        let customer = Uuid::now_v7().to_string();
        let hold = self.post(&customer, "holds", &hold).await?;
        let order = json!({"hold_id": hold["id"], "card": "4242424242424242"});
        self.post(&customer, "orders", &order).await?;
        Ok(())
    }

    async fn post(&self, customer: &str, what: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self
            .http
            .post(format!("{}/{what}", self.address))
            .header(CALLER_KEY, &self.key)
            .header("x-account-id", customer)
            .header("x-account-role", "customer")
            .header("idempotency-key", Uuid::now_v7().to_string())
            .json(body)
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.json().await?)
    }
}

/// Purchases a second through booking's HTTP door.
async fn purchases(stack: &Stack, length: Duration) -> anyhow::Result<f64> {
    let booking = stack.address("booking").await?;
    let event = put_hall(&booking).await?;
    let first = Buyer::at(&booking, event, 2)?;
    let started = Instant::now();
    let buyers = (0..CONCURRENCY).map(|_| {
        let buyer = first.clone();
        tokio::spawn(async move {
            let mut bought = 0_u32;
            while started.elapsed() < length {
                buyer.buy().await?;
                bought += 1;
            }
            anyhow::Ok(bought)
        })
    });
    let mut bought = 0;
    for buyer in try_join_all(buyers).await? {
        bought += buyer?;
    }
    Ok(f64::from(bought) / started.elapsed().as_secs_f64())
}

/// Purchases a second of pgbench. It reports the transactions of its script, which buys once.
async fn pgbench(stack: &Stack, length: Duration) -> anyhow::Result<f64> {
    let event = put_hall(&stack.address("booking").await?).await?;
    let command = format!(
        "printf '%s' \"$0\" >/tmp/hold_and_order.sql && \
         PGPASSWORD=$(cat /run/secrets/postgres/booking_password) pgbench --no-vacuum \
         --protocol=prepared --client={CONCURRENCY} --jobs=2 --time={} \
         --define=event={event} --file=/tmp/hold_and_order.sql \
         --host=haproxy --username=booking booking",
        length.as_secs()
    );
    let postgres = stack.project.one("postgres-1").await?;
    let printed = postgres.run(&["sh", "-c", &command, STATEMENTS]).await?;
    ensure!(printed.exit_code == 0, "pgbench: {}", printed.text);
    printed
        .text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("pgbench printed no rate: {}", printed.text))
}
