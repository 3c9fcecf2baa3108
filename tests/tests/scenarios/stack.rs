//! The test stack, and a hall in it for each scenario.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tests::checkers::{Ending, PROMISES, Verdict, Witnesses};
use tests::client::bank::Bank;
use tests::client::booking::Wanted;
use tests::client::catalog::NewEvent;
use tests::client::internal::{Audit, AuditOutbox, Internal};
use tests::client::{Budget, Client, Door, Failure, Order, OrderState, WorkerStatus};
use tests::crowd::{Organiser, organiser, run_id};
use tests::faults::{Container, Project};
use tests::history::History;
use uuid::Uuid;

/// How long the stack may take to heal before a scenario.
const HEAL_BOUND: Duration = Duration::from_secs(60);

/// How long a scenario's orders may take to become final.
const SETTLE_BOUND: Duration = Duration::from_secs(90);

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
            booking: Internal::at(&text("BOOKING_URL", "http://booking:9000"))?,
            bank: Bank::at(&text("BANK_URL", "http://bank:8080"), &key)?,
            prometheus: text("PROMETHEUS_URL", "http://prometheus:9090"),
            hold: seconds("HOLD_SECONDS", 20)?,
            settlement: seconds("SETTLEMENT_SECONDS", 10)?,
            lease: seconds("LEASE_SECONDS", 5)?,
            visibility: seconds("VISIBILITY_SECONDS", 10)?,
        };
        stack.project.heal(HEAL_BOUND).await?;
        stack.leader().await?;
        Ok(stack)
    }

    /// Somebody without a session.
    pub fn visitor(&self) -> Client {
        let name = format!("s{}", run_id());
        Client::visitor(self.door.clone(), Arc::new(History::new()), name)
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
        let visitor = |name: String| Client::visitor(self.door.clone(), history.clone(), name);
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
        let response = self
            .door
            .http()
            .get(format!("http://{address}:9000/metrics"))
            .send()
            .await?;
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

/// An event, its organiser and its customers; all write to one history.
#[derive(Debug)]
pub struct Hall {
    pub stack: Stack,
    pub event_id: Uuid,
    pub organiser: Organiser,
    pub customers: Vec<Client>,
    pub history: Arc<History>,
}

impl Hall {
    /// One seat, ordered with this card.
    pub async fn order(&self, number: usize, card: &str) -> anyhow::Result<Order> {
        let client = &self.customers[number];
        let hold = client.hold(self.event_id, &Wanted::Best(1)).await?;
        Ok(client.order(hold.id, card).await?)
    }

    /// Waits until an order is in this state.
    pub async fn until(
        &self,
        number: usize,
        order_id: Uuid,
        state: OrderState,
        bound: Duration,
    ) -> anyhow::Result<Order> {
        let what = format!("order {order_id} is {state:?}");
        let client = self.customers[number].clone().with_budget(Budget::ONCE);
        eventually(bound, &what, async || {
            match client.read_order(order_id).await {
                Ok(order) => Ok((order.state == state).then_some(order)),
                Err(failure) if failure.may_pass() => Ok(None),
                Err(failure) => Err(failure.into()),
            }
        })
        .await
    }

    /// What `booking` has of the event.
    pub async fn audit(&self) -> anyhow::Result<Audit> {
        self.stack.booking.audit(self.event_id).await
    }

    /// The payment rows of an order, by number.
    pub async fn payment_rows(&self, order_id: Uuid) -> anyhow::Result<Vec<AuditOutbox>> {
        let mut rows = self.audit().await?.outbox;
        rows.retain(|row| row.group_id == order_id && row.destination == "payments");
        rows.sort_by_key(|row| row.sequence);
        Ok(rows)
    }

    /// Waits until nothing moves any more, then checks every promise over the whole history.
    pub async fn every_promise_held(&self) -> anyhow::Result<()> {
        eventually(SETTLE_BOUND, "every order is final", async || {
            let audit = self.audit().await?;
            let orders = audit.orders.iter().all(|order| order.state.is_final());
            let open = |row: &AuditOutbox| row.delivered_at.is_none() && row.dead_at.is_none();
            Ok((orders && !audit.outbox.iter().any(open)).then_some(()))
        })
        .await?;
        self.check(&PROMISES.map(|promise| promise.number)).await
    }

    /// Checks the promises with these numbers as things stand.
    pub async fn check(&self, numbers: &[u8]) -> anyhow::Result<()> {
        let witnesses = Witnesses {
            booking: Some(self.stack.booking.clone()),
            bank: Some(self.stack.bank.clone()),
        };
        let ending = Ending::read(self.event_id, &self.customers, &witnesses).await?;
        let records = self.history.records();
        let mut broken = String::new();
        for promise in PROMISES
            .iter()
            .filter(|promise| numbers.contains(&promise.number))
        {
            match promise.verdict(&records, &ending) {
                Verdict::Held => {}
                Verdict::NotChecked(why) => bail!("{} was not checked: {why}", promise.says),
                Verdict::Broken(violations) => {
                    for violation in violations.iter().take(3) {
                        let records = serde_json::to_string(&violation.offending)?;
                        broken.push_str(&format!(
                            "\n{}. {}: {}\n   {records}",
                            promise.number, promise.says, violation.what
                        ));
                    }
                }
            }
        }
        ensure!(broken.is_empty(), "broken promises:{broken}");
        Ok(())
    }
}

/// Asks until there is an answer, at most `bound`. A failure to ask counts as not yet, and is told
/// when the bound is over.
pub async fn eventually<T>(
    bound: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        let failure = match ask().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if began.elapsed() > bound {
            let reason = failure
                .map(|error| format!(": {error:#}"))
                .unwrap_or_default();
            bail!("not within {bound:?}: {what}{reason}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
