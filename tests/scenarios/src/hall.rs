//! A hall for each scenario: an event with its organiser and its customers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use checkers::{Ending, PROMISES, Verdict, Witnesses};
use client::booking::Wanted;
use client::history::History;
use client::{Budget, Client, Failure, Order, OrderState};
use crowd::Organiser;
use crowd::visit::cards;
use messages::audit::{Audit, AuditedOrder, AuditedRow};
use messages::bank::{Kind, Outcome};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deadline::generous;
use crate::stack::{Stack, eventually};

/// How long a scenario's orders may take to become final.
const SETTLE_BOUND: Duration = Duration::from_secs(45);

/// How long the sweep may take, and the ledger to agree with the bank's books.
const TIDY_BOUND: Duration = Duration::from_secs(10);

/// Promises whose checkers can report a state that passes: the sweep has not released a hold yet, or
/// the ledger is behind the bank's books. A seat sold twice does not pass, and is still found at the
/// deadline.
const BECOME_TRUE: [u8; 2] = [2, 3];

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

    /// What only requests can change: all that `booking` has of the event but for what follows by
    /// itself, which is how far a row and a ticket have come, what the organiser is paid, and what
    /// the sweep tidies.
    pub async fn possessions(&self) -> anyhow::Result<Value> {
        let mut audit = self.audit().await?;
        for hold in &mut audit.holds {
            if hold.state == "active" {
                hold.state = "expired".to_owned();
            }
        }
        let seats = audit.seats.iter().map(|seat| (seat.id, seat.order_id));
        let tickets = audit.tickets.iter();
        let tickets = tickets.map(|ticket| (ticket.id, ticket.seat_id, &ticket.state));
        let paid = audit.ledger.iter().filter(|line| line.order_id.is_some());
        let paid = paid.map(|line| (&line.cause, &line.kind, line.bank_minor, line.created_at));
        let rows = audit.outbox.iter();
        let rows = rows.map(|row| (row.id, &row.destination, row.sequence, &row.kind));
        Ok(json!([
            audit.orders,
            audit.holds,
            seats.collect::<Vec<_>>(),
            tickets.collect::<Vec<_>>(),
            paid.collect::<Vec<_>>(),
            rows.collect::<Vec<_>>(),
        ]))
    }

    /// Waits until no payment and no ticket is on its way.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        eventually(SETTLE_BOUND, "nothing is on its way", async || {
            let audit = self.audit().await?;
            let moves = |order: &AuditedOrder| {
                matches!(order.state, OrderState::Pending | OrderState::Cancelling)
            };
            let quiet = !audit.orders.iter().any(moves) && !audit.outbox.iter().any(is_open);
            Ok(quiet.then_some(()))
        })
        .await
    }

    /// What a scan at the door reads on the first ticket of an order, once it is rendered.
    pub async fn ticket_code(&self, number: usize, order_id: Uuid) -> anyhow::Result<String> {
        let bound = Duration::from_secs(20);
        eventually(bound, "the ticket is rendered", async || {
            let tickets = self.customers[number].tickets(order_id).await?;
            Ok(tickets.first().and_then(|ticket| ticket.code.clone()))
        })
        .await
    }

    /// A hold, an order and its payment, each repeated while it is refused in a way that may pass.
    /// `bound` is the documented time; each of the three steps has a generous deadline of its own.
    /// Returns the time that it took.
    pub async fn purchase_within(
        &self,
        number: usize,
        bound: Duration,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let client = self.customers[number].clone();
        let client = client.with_budget(Budget {
            attempts: 1_000,
            time: generous(bound),
        });
        let hold = client.hold(self.event_id, &Wanted::Best(1)).await?;
        let order = client.order(hold.id, cards::FINE).await?;
        self.until(number, order.id, OrderState::Paid, bound)
            .await?;
        Ok(began.elapsed())
    }

    /// Charges of an order in the bank's books, by how they ended.
    pub async fn charges(&self, order_id: Uuid) -> anyhow::Result<Vec<Outcome>> {
        let movements = self.stack.bank.movements_for(order_id).await?;
        let charges = movements.iter().filter(|one| one.kind == Kind::Charge);
        Ok(charges.map(|one| one.outcome).collect())
    }

    /// The payment rows of an order, by number.
    pub async fn payment_rows(&self, order_id: Uuid) -> anyhow::Result<Vec<AuditedRow>> {
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
            Ok((orders && !audit.outbox.iter().any(is_open)).then_some(()))
        })
        .await?;
        self.check(&PROMISES.map(|promise| promise.number)).await
    }

    /// Checks the promises with these numbers now. Those of [`BECOME_TRUE`] are checked again until
    /// [`TIDY_BOUND`] is over.
    pub async fn check(&self, numbers: &[u8]) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let broken = self.broken(numbers).await?;
            let may_pass = broken
                .iter()
                .all(|(number, _)| BECOME_TRUE.contains(number));
            if broken.is_empty() {
                return Ok(());
            }
            let told: String = broken.into_iter().map(|(_, told)| told).collect();
            ensure!(
                may_pass && began.elapsed() < generous(TIDY_BOUND),
                "broken promises:{told}"
            );
            println!("broken so far:{told}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// How the promises with these numbers are broken.
    async fn broken(&self, numbers: &[u8]) -> anyhow::Result<Vec<(u8, String)>> {
        let witnesses = Witnesses {
            booking: Some(self.stack.booking.clone()),
            bank: Some(self.stack.bank.clone()),
        };
        let ending = Ending::read(self.event_id, &self.customers, &witnesses).await;
        let records = self.history.records();
        let mut broken = Vec::new();
        for promise in PROMISES
            .iter()
            .filter(|promise| numbers.contains(&promise.number))
        {
            match promise.verdict(&records, &ending) {
                Verdict::Held => {}
                Verdict::NotChecked(why) => bail!("{} was not checked: {why}", promise.says),
                Verdict::NotAsked(needs) => bail!("{} was not checked: it {needs}", promise.says),
                Verdict::Broken(violations) => {
                    for violation in violations.iter().take(3) {
                        let records = serde_json::to_string(&violation.offending)?;
                        let told = format!(
                            "\n{}. {}: {}\n   {records}",
                            promise.number, promise.says, violation.what
                        );
                        broken.push((promise.number, told));
                    }
                }
            }
        }
        Ok(broken)
    }
}

/// How many requests [`read_each`] makes.
pub const READS: u32 = 3;

/// Reads of each service once what it has: an event, the account's own page, what is free.
pub async fn read_each(client: &Client, event_id: Uuid) -> Result<(), Failure> {
    client.event(event_id).await?;
    client.me().await?;
    client.availability(event_id).await?;
    Ok(())
}

/// Reads what needs no session: an event, the list that it stands in, and its seat map.
pub async fn look(client: &Client, event_id: Uuid) -> Result<(), Failure> {
    client.event(event_id).await?;
    client.events_in("Salzburg", 5).await?;
    client.seat_map(event_id).await?;
    Ok(())
}

/// Whether a row is neither delivered nor dead.
fn is_open(row: &AuditedRow) -> bool {
    row.delivered_at.is_none() && row.dead_at.is_none()
}
