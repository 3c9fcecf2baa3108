//! Keeps the events of older versions where a city is searched for.
//!
//! Earlier versions stored the events of a city under a key without a normal form. This version
//! stores and searches under [`text::key`]. The two differ for few names only, such as `Zürich` sent
//! as two characters for its `ü`, or `Weißenburg`. A task moves those events: at start, and again once
//! a minute, because a replica of an earlier version may change an event while an upgrade rolls.
//!
//! What this promises: a minute after the last older replica has stopped, each event on sale is found
//! by its city. What it leaves open: an older replica does not find those few by their city once they
//! are moved; it finds them in the list of all events and by id. The task goes when no data of such a
//! version is left.

use std::sync::Arc;
use std::time::Duration;

use service::Process;

use crate::Catalog;

/// How often the events on sale are looked through.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Moves events until the process stops.
pub async fn keep(catalog: Arc<Catalog>, process: Process) -> anyhow::Result<()> {
    loop {
        let pass = async {
            match catalog.events.rekey_cities().await {
                Ok(0) => {}
                Ok(moved) => tracing::info!(events = moved, "moved to the key of their city"),
                Err(problem) => tracing::debug!(%problem, "the keys of cities are looked at later"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        tokio::select! {
            () = pass => {}
            () = process.draining() => return Ok(()),
        }
    }
}
