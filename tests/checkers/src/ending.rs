//! What is there when a run is over, read from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use messages::audit::{Audit, Ledger, Outbox};
use messages::bank::{Balance, Movement};
use uuid::Uuid;

use super::attempts;
use client::bank::Bank;
use client::internal::Internal;
use client::{Client, Operation, Order};

/// Most pages of one customer's orders that are read.
const MOST_PAGES: usize = 20;

/// How long `booking`'s ledger and `bank`'s books may take to agree while others go on buying.
const AGREEMENT_BOUND: Duration = Duration::from_secs(20);

/// How long a witness may take to answer: whoever kills parts may just have killed it.
const WITNESS_BOUND: Duration = Duration::from_secs(30);

/// The state after a run.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The customers' orders, as the API shows them.
    pub orders: Vec<Order>,
    /// Accounts whose session still opens the door.
    pub accounts: BTreeSet<Uuid>,
    /// Events that `catalog` still shows.
    pub events: BTreeSet<Uuid>,
    /// The event that was sold, as `booking` has it.
    pub audit: Option<Audit>,
    /// What the ledger comes to.
    pub ledger: Option<Ledger>,
    /// What the outbox has left.
    pub outbox: Option<Outbox>,
    /// `bank`'s books.
    pub books: Option<Vec<Movement>>,
    /// What `bank`'s books come to, at the moment at which the ledger was read.
    pub balance: Option<Balance>,
    /// Why `booking` could not be read, although it was to be.
    pub booking_unread: Option<String>,
    /// Why `bank` could not be read, although it was to be.
    pub bank_unread: Option<String>,
}

/// Where an ending is read from, beside the door.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    /// `booking`'s internal pages.
    pub booking: Option<Internal>,
    /// `bank`.
    pub bank: Option<Bank>,
}

impl Witnesses {
    /// Whether those that are named answer.
    ///
    /// # Errors
    /// One does not.
    pub async fn answer(&self) -> anyhow::Result<()> {
        if let Some(booking) = &self.booking {
            booking.ledger().await?;
        }
        if let Some(bank) = &self.bank {
            bank.balance().await?;
        }
        Ok(())
    }
}

impl Ending {
    /// Reads what is there: `customers`' accounts and orders, the event, the books. What a witness
    /// that was named does not tell within a bound is missing, with the reason.
    pub async fn read(event_id: Uuid, customers: &[Client], witnesses: &Witnesses) -> Self {
        let mut ending = Self::default();
        for customer in customers {
            if customer
                .me()
                .await
                .is_ok_and(|account| account.id == customer.account_id())
            {
                ending.accounts.insert(customer.account_id());
            }
            ending.orders.extend(orders_of(customer).await);
        }
        if let Some(customer) = customers.first() {
            for id in published(customer).into_iter().chain([event_id]) {
                if customer.event(id).await.is_ok() {
                    ending.events.insert(id);
                }
            }
        }
        if let Some(booking) = &witnesses.booking {
            let read = patiently(async || {
                anyhow::Ok((booking.audit(event_id).await?, booking.outbox().await?))
            });
            match read.await {
                Ok((audit, outbox)) => {
                    ending.audit = Some(audit);
                    ending.outbox = Some(outbox);
                }
                Err(error) => ending.booking_unread = Some(format!("{error:#}")),
            }
        }
        if let Some(bank) = &witnesses.bank {
            match patiently(async || bank.movements().await).await {
                Ok(books) => ending.books = Some(books),
                Err(error) => ending.bank_unread = Some(format!("{error:#}")),
            }
        }
        if let (Some(booking), Some(bank)) = (&witnesses.booking, &witnesses.bank) {
            match patiently(async || agreement(booking, bank).await).await {
                Ok((ledger, balance)) => {
                    ending.ledger = Some(ledger);
                    ending.balance = Some(balance);
                }
                Err(error) => {
                    ending.books = None;
                    ending.bank_unread = Some(format!("{error:#}"));
                }
            }
        }
        ending
    }

    /// The order with this id, as the API shows it.
    #[must_use]
    pub fn order(&self, id: Uuid) -> Option<&Order> {
        self.orders.iter().find(|order| order.id == id)
    }
}

/// Asks until there is an answer, at most [`WITNESS_BOUND`].
async fn patiently<T>(mut ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + WITNESS_BOUND;
    loop {
        match ask().await {
            Err(_) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            done => return done,
        }
    }
}

/// The events that were published in the history that this customer writes to.
fn published(customer: &Client) -> BTreeSet<Uuid> {
    customer.history().look(|records| {
        attempts::of(records, Operation::PublishEvent)
            .filter(|record| record.is_acknowledged())
            .filter_map(|record| record.subject)
            .collect()
    })
}

async fn orders_of(customer: &Client) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let Ok(page) = customer.orders(cursor.as_deref()).await else {
            break;
        };
        orders.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    orders
}

/// Ledger and balance of one moment: others may be buying, so they are read until they agree, or
/// the bound is over; then the last pair is what it is.
async fn agreement(booking: &Internal, bank: &Bank) -> anyhow::Result<(Ledger, Balance)> {
    let deadline = tokio::time::Instant::now() + AGREEMENT_BOUND;
    loop {
        let ledger = booking.ledger().await?;
        let balance = bank.balance().await?;
        let agreed = super::money::net(&balance) == ledger.bank_minor;
        if agreed || tokio::time::Instant::now() >= deadline {
            return Ok((ledger, balance));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
