//! The test stack, and what scenarios ask of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::bank::Bank;
use client::catalog::NewEvent;
use client::history::History;
use client::internal::Internal;
use client::{Client, Door, Failure, WorkerStatus};
use crowd::{Organiser, organiser, run_id};
use faults::{Container, Project};
use reqwest::{RequestBuilder, Response, StatusCode};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::deadline::{RECOVERY, TRIES, generous};

pub use crate::hall::Hall;

/// How long the stack may take to heal before a scenario.
const HEAL_BOUND: Duration = Duration::from_secs(60);

/// The running stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The containers.
    pub project: Project,
    /// Nginx.
    pub door: Door,
    /// `booking`'s internal pages.
    pub booking: Internal,
    /// `bank`'s books.
    pub bank: Bank,
    /// Address of Prometheus.
    pub prometheus: String,
    /// How long a hold lasts.
    pub hold: Duration,
    /// How long a settlement period is.
    pub settlement: Duration,
    /// The leader's lease.
    pub lease: Duration,
    /// How long a message in hand stays invisible.
    pub visibility: Duration,
}

fn text(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn seconds(name: &str, default: u64) -> anyhow::Result<Duration> {
    let text = text(name, &default.to_string());
    let seconds = text
        .parse()
        .with_context(|| format!("{name} is no number: {text}"))?;
    Ok(Duration::from_secs(seconds))
}

impl Stack {
    /// The stack that the environment names, healed, with a leader.
    pub async fn ready() -> anyhow::Result<Self> {
        let project = std::env::var("BOXOFFICE_PROJECT")
            .context("BOXOFFICE_PROJECT names the test stack: run `make test`")?;
        let key_file = text("BANK_KEY_FILE", "/run/secrets/crowd/bank_key");
        let key = std::fs::read_to_string(&key_file).with_context(|| key_file.clone())?;
        let stack = Self {
            project: Project::named(&project).await?,
            door: Door::at(&text("BOXOFFICE_DOOR", "http://nginx:8080"))?,
            booking: Internal::at(
                &text("BOOKING_URL", "http://booking:9000"),
                &client::secret("crowd/booking_key")?,
            )?,
            bank: Bank::at(&text("BANK_URL", "http://bank:8080"), &key)?,
            prometheus: text("PROMETHEUS_URL", "http://prometheus:9090"),
            hold: seconds("HOLD_SECONDS", 20)?,
            settlement: seconds("SETTLEMENT_SECONDS", 10)?,
            lease: seconds("LEASE_SECONDS", 5)?,
            visibility: seconds("VISIBILITY_SECONDS", 10)?,
        };
        stack.heal(HEAL_BOUND).await?;
        stack.leader().await?;
        Ok(stack)
    }

    /// Undoes every fault and waits until each container is well; the deadline is generous.
    pub async fn heal(&self, bound: Duration) -> anyhow::Result<()> {
        self.project.heal(generous(bound)).await
    }

    /// Somebody without a session.
    pub fn visitor(&self) -> Client {
        let name = format!("s{}", run_id());
        Client::visitor(self.door.clone(), Arc::new(History::new()), name).with_budget(RECOVERY)
    }

    /// A hall with this many seats on sale and this many customers in front of it.
    pub async fn hall(&self, seats: u32, customers: u32) -> anyhow::Result<Hall> {
        self.hall_of(NewEvent::with_seats("A scenario", seats), customers)
            .await
    }

    /// A hall for this event with this many customers in front of it.
    pub async fn hall_of(&self, event: NewEvent, customers: u32) -> anyhow::Result<Hall> {
        let run = run_id();
        let history = Arc::new(History::new());
        let visitor = |name: String| {
            Client::visitor(self.door.clone(), history.clone(), name).with_budget(RECOVERY)
        };
        let organiser = Organiser::sign_up(&visitor(format!("{run}-o")), &run).await?;
        let mut clients = Vec::new();
        for number in 0..customers {
            let visitor = visitor(format!("{run}-{number}"));
            clients.push(organiser::customer(&visitor, &run, number).await?);
        }
        let event_id = organiser.open(&event).await?;
        Ok(Hall {
            stack: self.clone(),
            event_id,
            organiser,
            customers: clients,
            history,
        })
    }

    /// The leader's status, once a worker knows one.
    pub async fn leader(&self) -> anyhow::Result<WorkerStatus> {
        let visitor = self.visitor();
        eventually(Duration::from_secs(30), "somebody leads", async || {
            let status = visitor.worker_status().await?;
            Ok(status.leader.is_some().then_some(status))
        })
        .await
    }

    /// The worker that leads, and its token.
    pub async fn leading_worker(&self) -> anyhow::Result<(Container, i64)> {
        let leader = self.leader().await?.leader.context("nobody leads")?;
        let container = self.project.with_host_name(&leader.name).await?;
        ensure!(container.service == "worker", "{} leads", container.name());
        Ok((container, leader.token))
    }

    /// What `/metrics` of a container says, the lines that begin with `prefix`.
    pub async fn metrics(
        &self,
        container: &Container,
        prefix: &str,
    ) -> anyhow::Result<Vec<String>> {
        let address = container
            .state()
            .await?
            .address
            .context("it has no address")?;
        self.scrape(&format!("http://{address}:9000/metrics"), prefix)
            .await
    }

    /// What this address says, the lines that begin with `prefix`.
    pub async fn scrape(&self, url: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
        let response = answered(self.door.http().get(url)).await?;
        let text = response.error_for_status()?.text().await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(prefix))
            .map(str::to_owned)
            .collect())
    }

    /// The value of one series of a container, 0 where it is not there.
    pub async fn metric(&self, container: &Container, series: &str) -> anyhow::Result<f64> {
        let lines = self.metrics(container, series).await?;
        let value = lines
            .first()
            .and_then(|line| line.rsplit(' ').next()?.parse().ok());
        Ok(value.unwrap_or_default())
    }
}

/// Calls `ask` until it returns a value. `bound` is the documented time; the deadline is
/// [`generous`]. An error counts as not yet, and the last one is part of the failure.
pub async fn eventually<T>(
    bound: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let (began, deadline) = (Instant::now(), generous(bound));
    loop {
        let failure = match ask().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if began.elapsed() > deadline {
            let reason = failure
                .map(|error| format!(": {error:#}"))
                .unwrap_or_default();
            bail!("not within {deadline:?}: {what}{reason}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A session of Postgres's superuser in one of its databases, through the door to the primary.
pub async fn superuser_of(database: &str) -> anyhow::Result<PgConnection> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL")?;
    let (server, _) = url
        .rsplit_once('/')
        .context("DATABASE_URL names no database")?;
    Ok(PgConnection::connect(&format!("{server}/{database}")).await?)
}

/// The refusal, where one is expected: its status and kind of problem.
pub fn refusal<T: std::fmt::Debug>(done: Result<T, Failure>) -> anyhow::Result<(u16, String)> {
    match done {
        Err(Failure::Refused(answer)) => Ok((
            answer.status,
            answer.problem().unwrap_or_default().to_owned(),
        )),
        other => bail!("not refused: {other:?}"),
    }
}

/// Answered with an honest 503: unavailable, and when to come again.
pub fn unavailable<T: std::fmt::Debug>(done: Result<T, Failure>) -> anyhow::Result<()> {
    match done {
        Err(Failure::Refused(answer)) if answer.status == 503 && answer.retry_after.is_some() => {
            Ok(())
        }
        other => bail!("no 503 with Retry-After: {other:?}"),
    }
}

/// Whether a service answered 503 itself, as it does when its own time limit is over. A 503 of Nginx
/// names the request in `request_id`, and says that no replica answered.
pub fn is_shed(failure: &Failure) -> bool {
    let Failure::Refused(answer) = failure else {
        return false;
    };
    answer.status == 503 && answer.retry_after.is_some() && answer.body["request_id"].is_null()
}

/// The answer to a request that is written out here. It is sent again where none came, or a 503: a busy
/// machine is no failure. So only for what may be sent twice: a read, a refusal, a write with a key.
pub async fn answered(request: RequestBuilder) -> anyhow::Result<Response> {
    for _ in 1..TRIES {
        let again = request.try_clone().context("it cannot be sent twice")?;
        match again.send().await {
            Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => {
                return Ok(response);
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
    Ok(request.send().await?)
}

/// Sends a request, and sends it again while a service sheds it: a busy machine is no failure.
pub async fn unless_shed<T>(
    mut ask: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    for _ in 1..TRIES {
        match ask().await {
            Err(failure) if is_shed(&failure) => println!("shed: {failure}"),
            done => return done,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ask().await
}

/// Refused with this status and kind of problem, or a failure that says what came instead.
pub fn refused_with<T: std::fmt::Debug>(
    done: Result<T, Failure>,
    status: u16,
    problem: &str,
) -> anyhow::Result<()> {
    let refusal = refusal(done)?;
    ensure!(
        refusal == (status, problem.to_owned()),
        "refused with {refusal:?}, not {problem}"
    );
    Ok(())
}
