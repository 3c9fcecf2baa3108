//! Keeps the events of older versions where a city is searched for.
//!
//! Earlier versions stored the events of a city under a key without a normal form. This version
//! stores and searches under [`text::key`]. The two differ for few names only, such as `Zürich` sent
//! as two characters for its `ü`, or `Weißenburg`. A task moves those events when a replica starts,
//! and once more a minute later: an older replica that is being replaced may change an event until
//! then, and an index lags behind the documents.
//!
//! What this promises: a minute after the last replica has started, and with no older replica left,
//! each event on sale is found by its city. What it leaves open: an older replica does not find those
//! few by their city once they are moved; it finds them in the list of all events and by id. The task
//! goes when no data of such a version is left.

use std::sync::Arc;
use std::time::Duration;

use service::Process;

use crate::Catalog;

/// How long after the first look the events on sale are looked through once more.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long to wait where DynamoDB does not answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Moves events until both looks are done or the process stops.
pub async fn keep(catalog: Arc<Catalog>, process: Process) -> anyhow::Result<()> {
    let looks = async {
        look(&catalog).await;
        tokio::time::sleep(AGAIN_AFTER).await;
        look(&catalog).await;
    };
    tokio::select! {
        () = looks => {}
        () = process.draining() => {}
    }
    Ok(())
}

/// Looks through all events on sale, and tries again until that succeeds.
async fn look(catalog: &Catalog) {
    loop {
        match catalog.events.rekey_cities().await {
            Ok(0) => return,
            Ok(moved) => {
                tracing::info!(events = moved, "moved to the key of their city");
                return;
            }
            Err(problem) => tracing::debug!(%problem, "the keys of cities are looked at later"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
