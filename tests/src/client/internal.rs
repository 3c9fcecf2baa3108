//! `booking`'s internal pages, which the door never shows: what the checkers compare clients'
//! answers with.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{OrderState, SeatName, http_client};

/// Everything of one event, read in one transaction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Audit {
    /// When it was read, by the database's clock.
    pub read_at: DateTime<Utc>,
    /// The event's orders.
    pub orders: Vec<AuditOrder>,
    /// Its holds.
    pub holds: Vec<AuditHold>,
    /// Its seats.
    pub seats: Vec<AuditSeat>,
    /// The tickets of its orders.
    pub tickets: Vec<AuditTicket>,
    /// Payouts to its organiser.
    pub settlements: Vec<AuditSettlement>,
    /// Its part of the ledger, a line a transaction.
    pub ledger: Vec<AuditLedger>,
    /// The outbox rows of its orders that have not been pruned.
    pub outbox: Vec<AuditOutbox>,
    /// The newest leaders' terms, of the whole system.
    pub terms: Vec<AuditTerm>,
    /// The last effect of each leader's task, of the whole system.
    pub tasks: Vec<AuditTask>,
}

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditOrder {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub hold_id: Uuid,
    pub state: OrderState,
    pub total_minor: i64,
    pub attempt: i32,
    pub charge_id: Option<Uuid>,
    pub seat_ids: Vec<i64>,
}

/// A hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditHold {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub state: String,
    pub total_minor: i64,
    pub expires_at: DateTime<Utc>,
    pub seat_ids: Vec<i64>,
}

/// A seat.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditSeat {
    pub id: i64,
    pub section: String,
    pub row: String,
    pub number: i32,
    pub hold_id: Option<Uuid>,
    pub held_until: Option<DateTime<Utc>>,
    pub order_id: Option<Uuid>,
}

impl AuditSeat {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> SeatName {
        SeatName {
            section: self.section.clone(),
            row: self.row.clone(),
            number: self.number,
        }
    }
}

/// A ticket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditTicket {
    pub id: Uuid,
    pub order_id: Uuid,
    pub seat_id: i64,
    pub state: String,
    pub rendered: bool,
}

/// A payout.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditSettlement {
    pub id: Uuid,
    pub period: i64,
    pub amount_minor: i64,
    pub state: String,
    pub fence_token: i64,
    pub paid_fence_token: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
}

/// A transaction of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditLedger {
    pub cause: String,
    pub kind: String,
    pub order_id: Option<Uuid>,
    pub settlement_id: Option<Uuid>,
    pub bank_minor: i64,
    pub organiser_minor: i64,
    pub fence_token: Option<i64>,
    pub created_at: DateTime<Utc>,
}

/// A row of the outbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditOutbox {
    pub id: Uuid,
    pub destination: String,
    pub group_id: Uuid,
    pub sequence: i64,
    pub kind: String,
    pub sends: i32,
    pub sent_at: Option<DateTime<Utc>>,
    pub fence_token: Option<i64>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub dead_at: Option<DateTime<Utc>>,
}

/// A leader's term.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditTerm {
    pub token: i64,
    pub holder: String,
    pub minted_at: DateTime<Utc>,
}

/// The last effect of a leader's task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are those of the table
pub struct AuditTask {
    pub task: String,
    pub fence_token: i64,
    pub runs: i64,
    pub last_effect_at: Option<DateTime<Utc>>,
}

/// What the ledger of the whole system comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The sum of all entries: nothing.
    pub sum_minor: i64,
    /// What the bank should have of ours.
    pub bank_minor: i64,
}

/// What the outbox of the whole system has left to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    /// Rows that are neither delivered nor dead.
    pub undelivered: i64,
    /// Rows that are dead.
    pub dead: i64,
}

/// A reader of `booking`'s internal pages.
#[derive(Clone, Debug)]
pub struct Internal {
    http: reqwest::Client,
    address: String,
}

impl Internal {
    /// `booking`'s internal listener at `address`, such as `http://booking:9000`.
    ///
    /// # Errors
    /// The client could not be made.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http_client()?,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    /// Everything of one event.
    ///
    /// # Errors
    /// No answer within three attempts, or one of another shape.
    pub async fn audit(&self, event_id: Uuid) -> anyhow::Result<Audit> {
        self.get(&format!("/internal/audit/{event_id}")).await
    }

    /// What the ledger comes to.
    ///
    /// # Errors
    /// No answer within three attempts, or one of another shape.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        self.get("/internal/ledger").await
    }

    /// What the outbox has left to do.
    ///
    /// # Errors
    /// No answer within three attempts, or one of another shape.
    pub async fn outbox(&self) -> anyhow::Result<Outbox> {
        self.get("/internal/outbox").await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let mut last = None;
        for attempt in 0..3 {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let asked = async {
                let response = self
                    .http
                    .get(format!("{}{path}", self.address))
                    .send()
                    .await?;
                response.error_for_status()?.json::<T>().await
            };
            match asked.await {
                Ok(value) => return Ok(value),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("not asked"), Into::into))
            .with_context(|| format!("booking did not answer {path}"))
    }
}
