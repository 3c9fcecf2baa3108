//! Promise 1 with asynchronous replication in place of quorum, and the primary cut off from the
//! others while its clients still reach it. No patch: Patroni is told so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use client::booking::Wanted;
use client::{Client, Failure};
use crowd::visit::cards;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::cluster::{Cluster, Replication};
use crate::programs::Programs;
use crate::scratch::{Scratch, server_on};
use crate::system::{System, buy};
use crate::{Seen, caught_within};

/// Within how many runs it is caught: a primary that is cut off leads for some seconds more, and
/// acknowledges what nobody else has.
const WITHIN: usize = 1;

/// Customers who buy one seat after another.
const CUSTOMERS: usize = 2;

/// What a customer does in between, so that there are seats until the end.
const PAUSE: Duration = Duration::from_millis(800);

/// How long they buy before the primary is cut off.
const BEFORE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn with_asynchronous_replication_the_checker_of_what_was_acknowledged_finds_orders_lost()
-> anyhow::Result<()> {
    let both = [&Replication::Quorum, &Replication::Asynchronous];
    caught_within(WITHIN, &["is not there as acknowledged"], both, drive).await
}

/// Whose turn it is: there is one network for twins, and whoever makes it removes all twins.
static TURN: Mutex<()> = Mutex::const_new(());

/// Customers who go on buying while the primary is cut off and a standby is promoted.
async fn drive(replication: &Replication) -> anyhow::Result<Seen> {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(*replication).await?;
    let seen = on(&cluster).await;
    cluster.end().await?;
    seen
}

async fn on(cluster: &Cluster) -> anyhow::Result<Seen> {
    let programs = &Programs::as_it_is();
    let primary = cluster.primary().await?.context("no primary")?;
    let scratch = Scratch::on(server_on(&primary.address)?).await?;
    let mut system = System::on(programs, scratch, cards::FINE).await?;
    let seen = happens_in(&mut system, cluster).await;
    system.end().await?;
    seen
}

async fn happens_in(system: &mut System, cluster: &Cluster) -> anyhow::Result<Seen> {
    let cut_off = cluster.primary().await?.context("no primary")?;
    let over = AtomicBool::new(false);
    let customers = (0..CUSTOMERS)
        .map(|_| system.customer())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let event_id = system.event_id;
    let (buying, promoted) = {
        let buying = customers
            .iter()
            .map(|one| go_on_buying(one, event_id, &over));
        let fault = async {
            tokio::time::sleep(BEFORE).await;
            let promoted = async {
                cluster.cut_off(&cut_off).await?;
                cluster.promoted_beside(&cut_off).await
            };
            let promoted = promoted.await;
            over.store(true, Ordering::Relaxed);
            promoted
        };
        tokio::join!(futures_util::future::join_all(buying), fault)
    };
    let promoted = promoted?;
    system.move_booking(&server_on(&promoted.address)?).await?;
    // With a primary there is service again.
    buy(&system.customer()?, event_id, &Wanted::Best(1), cards::FINE).await?;
    Ok(Seen {
        verdict: system.verdict(1).await?,
        guarded: guarded(&buying),
    })
}

/// Buys seats until it is over; says how often that succeeded and how often it did not.
async fn go_on_buying(client: &Client, event_id: Uuid, over: &AtomicBool) -> Bought {
    let mut bought = Bought::default();
    while !over.load(Ordering::Relaxed) {
        let done: Result<_, Failure> = buy(client, event_id, &Wanted::Best(1), cards::FINE).await;
        match done {
            Ok(_) => bought.acknowledged += 1,
            Err(_) => bought.failed += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
    bought
}

/// What a customer was answered.
#[derive(Clone, Copy, Debug, Default)]
struct Bought {
    acknowledged: usize,
    failed: usize,
}

/// Customers bought before the cut, and were told afterwards that it could not be done.
fn guarded(bought: &[Bought]) -> anyhow::Result<()> {
    ensure!(
        bought
            .iter()
            .all(|one| one.acknowledged > 0 && one.failed > 0),
        "what customers were answered: {bought:?}"
    );
    Ok(())
}
