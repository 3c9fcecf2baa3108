//! `bank`'s own books: the independent witness.

use std::time::Duration;

use anyhow::Context;
use messages::bank::{Balance, Books, Movement};

use super::http_client;

/// Most pages of the books that are read: a million movements.
const MOST_PAGES: usize = 2000;

/// A reader of `bank`'s books.
#[derive(Clone, Debug)]
pub struct Bank {
    http: reqwest::Client,
    address: String,
    key: String,
}

impl Bank {
    /// `bank` at `address`, such as `http://bank:8080`; `key` is its API key.
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

    /// All movements, oldest first.
    ///
    /// # Errors
    /// No answer within three attempts a page, or more pages than [`MOST_PAGES`].
    pub async fn movements(&self) -> anyhow::Result<Vec<Movement>> {
        let mut movements = Vec::new();
        let mut after = String::new();
        for _ in 0..MOST_PAGES {
            let page: Books = self.get(&format!("/v1/movements?limit=500{after}")).await?;
            movements.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(movements),
            }
        }
        anyhow::bail!("the bank's books have more than {MOST_PAGES} pages")
    }

    /// What was done for one order or settlement, oldest first.
    ///
    /// # Errors
    /// No answer within three attempts.
    pub async fn movements_for(&self, reference: uuid::Uuid) -> anyhow::Result<Vec<Movement>> {
        let page: Books = self
            .get(&format!("/v1/movements?limit=500&reference={reference}"))
            .await?;
        Ok(page.items)
    }

    /// What all movements come to.
    ///
    /// # Errors
    /// No answer within three attempts.
    pub async fn balance(&self) -> anyhow::Result<Balance> {
        self.get("/v1/balance?currency=EUR").await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let mut last = None;
        for attempt in 0..3 {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let asked = async {
                let address = format!("{}{path}", self.address);
                let response = self.http.get(address).bearer_auth(&self.key).send().await?;
                response.error_for_status()?.json::<T>().await
            };
            match asked.await {
                Ok(value) => return Ok(value),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("not asked"), Into::into))
            .with_context(|| format!("the bank did not answer {path}"))
    }
}
