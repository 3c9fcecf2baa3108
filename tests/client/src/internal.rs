//! `booking`'s internal listener, which Nginx does not expose and which answers known callers alone:
//! what the checkers compare clients' answers with.

use std::time::Duration;

use anyhow::Context;
use messages::audit::{Audit, Ledger, Outbox};
use uuid::Uuid;

use super::http_client;

/// Header with the key of a caller (`crates/service/src/callers.rs`).
pub const CALLER_KEY: &str = "x-caller-key";

/// A reader of `booking`'s internal pages.
#[derive(Clone, Debug)]
pub struct Internal {
    http: reqwest::Client,
    address: String,
    key: String,
}

impl Internal {
    /// `booking`'s internal listener at `address`, such as `http://booking:9000`; `key` is the one by
    /// which it knows the checkers.
    ///
    /// # Errors
    /// The client could not be made.
    pub fn at(address: &str, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http_client()?,
            address: address.trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
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
                    .header(CALLER_KEY, &self.key)
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
