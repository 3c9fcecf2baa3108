//! A replica whose address is gone before Nginx has asked for its name again.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::future::try_join_all;
use tests::client::{Budget, Client, Failure};
use uuid::Uuid;

use crate::hall::{READS, read_each};
use crate::stack::Stack;

/// Customers who read.
const READERS: u32 = 4;

/// How often a replica of each service is cut off. A request does not always wait for the address
/// at the very moment when Nginx hears that it is gone.
const ROUNDS: u32 = 2;

/// How long they read: until Nginx has asked for the name, and given up on those that were on their
/// way to the replica.
const READING: Duration = Duration::from_secs(3);

/// Reads of all services, again and again; each request is sent once.
async fn reads(once: &Client, event_id: Uuid, until: Instant) -> Result<u32, Failure> {
    let mut asked = 0;
    while Instant::now() < until {
        read_each(once, event_id).await?;
        asked += READS;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn no_read_is_lost_that_waits_for_the_address_of_a_replica_that_is_gone() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(4, READERS).await?;
    let network = stack.project.network().await?;
    let once: Vec<_> = hall
        .customers
        .iter()
        .map(|customer| customer.clone().with_budget(Budget::ONCE))
        .collect();
    for round in 0..ROUNDS {
        for service in ["catalog", "identity", "booking"] {
            let replica = stack.project.one(service).await?;
            let until = Instant::now() + READING;
            let (cut, asked) = tokio::join!(
                replica.disconnect(&network),
                try_join_all(once.iter().map(|once| reads(once, hall.event_id, until)))
            );
            stack.project.heal(Duration::from_secs(40)).await?;
            cut?;
            let asked: u32 = asked?.into_iter().sum();
            println!("round {round}: {asked} reads without {}", replica.name());
            ensure!(asked > 100, "only {asked} reads");
            // Nginx finds it again.
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
    }
    hall.every_promise_held().await
}
