//! Leader killed, and leader stopped, until the next leader's first effect.
//!
//! An effect is an outbox row that was sent under a token newer than that of the leader that went.
//! Orders are placed all the while, for one that the leaving leader still sends shows nothing. The
//! clock that counts is the machine's: this process takes the time of the fault, and the database
//! that of the effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::client::Client;
use ::client::history::History;
use ::faults::Container;
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::booking::{Buyer, put_event};
use crate::stack::Stack;
use crate::table::{Measured, median};

/// How often each.
const TIMES: usize = 10;
/// The lease, in seconds, of a stack that was told no other.
const LEASE: f64 = 5.0;
/// Longer than any failover may take.
const BOUND: Duration = Duration::from_secs(30);
/// How long a stop may take until it becomes a kill.
const STOP_BOUND: Duration = Duration::from_secs(10);
/// The pause between orders.
const BETWEEN_ORDERS: Duration = Duration::from_millis(100);
/// For how long the same leader must have been seen before it is made to go.
const STEADY: Duration = Duration::from_secs(1);

/// What happens to the leader.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL.
    Killed,
    /// SIGTERM, which lets it resign.
    Stopped,
}

impl Fault {
    /// What is measured, and the most seconds that are good.
    #[must_use]
    pub fn question(self) -> (&'static str, f64) {
        match self {
            Self::Killed => (
                "leader killed, to the next leader's first effect",
                lease() + 2.0,
            ),
            Self::Stopped => (
                "leader stopped (SIGTERM), to the next leader's first effect",
                1.0,
            ),
        }
    }
}

fn lease() -> f64 {
    let told = crate::setting("LEASE_SECONDS").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(LEASE)
}

/// The longest of [`TIMES`] failovers.
///
/// # Errors
/// A part did not answer as it should; what was measured until then is named.
pub async fn measure(stack: &Stack, fault: Fault) -> anyhow::Result<Measured> {
    let mut seconds = Vec::new();
    for _ in 0..TIMES {
        let once = once(stack, fault).await;
        seconds.push(once.with_context(|| format!("after {seconds:.2?} s"))?);
    }
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    let median = median(seconds);
    Ok(Measured {
        value: longest,
        note: format!("the longest of {TIMES}; the median is {median:.2} s"),
    })
}

async fn once(stack: &Stack, fault: Fault) -> anyhow::Result<f64> {
    stack.project.heal(crate::HEAL_BOUND).await?;
    let mut database = stack.database().await?;
    let booking = stack.address("booking").await?;
    // A seat for each order that fits into the bound, with some to spare.
    let event = put_event(&booking, 20, 20).await?;
    let buyer = Buyer::at(&booking, event, 1)?;
    let (leader, token) = steady_leader(stack, &mut database).await?;

    let since = Utc::now();
    let goes = async {
        match fault {
            Fault::Killed => leader.kill().await,
            Fault::Stopped => leader.stop(STOP_BOUND).await,
        }
    };
    let next = next_effect(&buyer, &mut database, token);
    let (gone, next) = tokio::join!(goes, next);
    gone?;
    let took = next? - since;
    let took = took.to_std().context("an effect before the fault")?;
    Ok(took.as_secs_f64())
}

/// The leader, once all say the same for a while.
async fn steady_leader(
    stack: &Stack,
    database: &mut PgConnection,
) -> anyhow::Result<(Container, i64)> {
    let name = format!("bench-{}", Uuid::now_v7());
    let visitor = Client::visitor(stack.door.clone(), Arc::new(History::passing(|_| {})), name);
    let deadline = Instant::now() + BOUND;
    let mut seen: Option<(String, i64)> = None;
    let mut since = Instant::now();
    loop {
        // Each time another worker answers.
        let status = visitor.worker_status().await?;
        let leader = status.leader.map(|leader| (leader.name, leader.token));
        let minted: i64 = sqlx::query_scalar("SELECT token FROM leader_fence")
            .fetch_one(&mut *database)
            .await?;
        let leader = leader.filter(|(_, token)| *token == minted);
        if leader != seen {
            (seen, since) = (leader, Instant::now());
        }
        if let Some((name, token)) = &seen
            && since.elapsed() >= STEADY
        {
            return Ok((stack.project.with_host_name(name).await?, *token));
        }
        ensure!(
            Instant::now() < deadline,
            "no leader for long enough: {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// When the first row was sent under a token newer than `token`.
async fn next_effect(
    buyer: &Buyer,
    database: &mut PgConnection,
    token: i64,
) -> anyhow::Result<DateTime<Utc>> {
    let deadline = Instant::now() + BOUND;
    loop {
        let bought = buyer.buy().await;
        let first: Option<DateTime<Utc>> =
            sqlx::query_scalar("SELECT min(sent_at) FROM outbox WHERE fence_token > $1")
                .bind(token)
                .fetch_one(&mut *database)
                .await?;
        if let Some(first) = first {
            return Ok(first);
        }
        ensure!(
            Instant::now() < deadline,
            "no effect of another leader within {BOUND:?}; the last purchase: {bought:?}"
        );
        tokio::time::sleep(BETWEEN_ORDERS).await;
    }
}
