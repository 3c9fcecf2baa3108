//! What is looked at most: counted in the process, added to a sorted set in Redis once a second.
//!
//! A read costs one count in memory; Redis sees one pipeline a second and replica. While it has no
//! primary the counts wait, as many events as [`MOST_COUNTED`]; a process that is killed loses the
//! views of its last second. That is what popularity is worth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use problem::Problem;
use redis::cmd;
use sentinel::{Error, Primary, Watched};
use service::Process;
use uuid::Uuid;

use crate::Catalog;

/// The sorted set of views by event.
const KEY: &str = "catalog:popular";
/// Most events in the sorted set.
const MOST_KEPT: isize = 1000;
/// Most events whose views wait for the next flush; views of others are not counted then.
const MOST_COUNTED: usize = 4096;
/// How often counts are added to the set.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Views of events.
#[derive(Debug)]
pub struct Popularity {
    counts: Mutex<HashMap<Uuid, u32>>,
    primary: Primary,
}

impl Popularity {
    /// Views in the Redis nodes that the sentinels watch, which are looked for in the background.
    pub fn open(watched: &Watched<'_>) -> Self {
        Self {
            counts: Mutex::default(),
            primary: Primary::open(watched),
        }
    }

    /// Waits until there is a primary.
    #[cfg(test)]
    pub async fn ready(&self) -> bool {
        self.primary.ready(Duration::from_secs(1)).await
    }

    /// Counts one view.
    pub fn viewed(&self, id: Uuid) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST_COUNTED || counts.contains_key(&id) {
            *counts.entry(id).or_default() += 1;
        }
    }

    /// The `limit` events with the most views, most first.
    ///
    /// # Errors
    /// 503 where Redis does not answer.
    pub async fn top(&self, limit: usize) -> Result<Vec<(Uuid, u64)>, Problem> {
        let mut ask = redis::pipe();
        ask.cmd("ZREVRANGE")
            .arg(KEY)
            .arg(0)
            .arg(limit.saturating_sub(1))
            .arg("WITHSCORES");
        let (found,): (Vec<(String, f64)>,) = self.primary.ask(&ask).await.map_err(away)?;
        // A count is a whole number far below 2^53, so nothing is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let views = |score: f64| score.max(0.0) as u64;
        Ok(found
            .into_iter()
            .filter_map(|(id, score)| Some((id.parse().ok()?, views(score))))
            .collect())
    }

    /// Forgets events that are over or gone.
    ///
    /// # Errors
    /// 503 where Redis does not answer.
    pub async fn forget(&self, ids: &[Uuid]) -> Result<(), Problem> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut remove = cmd("ZREM");
        remove.arg(KEY);
        for id in ids {
            remove.arg(id.to_string());
        }
        let mut ask = redis::pipe();
        ask.add_command(remove).ignore();
        self.primary.ask::<()>(&ask).await.map_err(away)
    }

    /// Adds what was counted to the sorted set; what cannot be added is kept.
    pub async fn flush(&self) -> Result<(), Error> {
        let counted =
            std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        if counted.is_empty() {
            return Ok(());
        }
        let mut add = redis::pipe();
        for (id, views) in &counted {
            add.cmd("ZINCRBY")
                .arg(KEY)
                .arg(*views)
                .arg(id.to_string())
                .ignore();
        }
        add.cmd("ZREMRANGEBYRANK")
            .arg(KEY)
            .arg(0)
            .arg(-MOST_KEPT - 1)
            .ignore();
        let added = self.primary.ask::<()>(&add).await;
        if added.is_err() {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, views) in counted {
                if counts.len() < MOST_COUNTED || counts.contains_key(&id) {
                    let count = counts.entry(id).or_default();
                    *count = count.saturating_add(views);
                }
            }
        }
        added
    }
}

fn away(error: Error) -> Problem {
    Problem::unavailable("the count of views").cause(error)
}

/// Adds the counts to the sorted set once a second until the process stops, and once more then.
pub async fn keep(catalog: Arc<Catalog>, process: Process) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        let stopping = tokio::select! {
            () = tokio::time::sleep(FLUSH_EVERY) => false,
            () = process.draining() => true,
        };
        match catalog.popularity.flush().await {
            Ok(()) => told = false,
            Err(error) if !told => {
                tracing::warn!(%error, "views cannot be counted for now");
                told = true;
            }
            Err(_) => {}
        }
        if stopping {
            return Ok(());
        }
    }
}
