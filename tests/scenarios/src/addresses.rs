//! A replica whose address is gone before Nginx has asked for its name again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::Utc;
use client::booking::Wanted;
use client::{Budget, Client, Failure};
use futures_util::future::try_join_all;
use serde_json::Value;
use uuid::Uuid;

use crate::deadline::generous;
use crate::hall::{READS, read_each};
use crate::stack::{Hall, Stack, is_shed};

/// Customers who read, and how many requests each of them makes at least.
const READERS: u32 = 4;
const READS_EACH: u32 = 30;

/// How often a replica of each service is cut off. A request does not always wait for the address
/// at the very moment when Nginx hears that it is gone.
const ROUNDS: u32 = 2;

/// How long they read after the cut: until Nginx has asked for the name, and given up on those that
/// were on their way to the replica.
const READING: Duration = Duration::from_secs(3);

/// Customers who write, and how many seats each of them holds at least.
const WRITERS: u32 = 8;
const HOLDS_EACH: u32 = 2;

/// How long they write at least: until Nginx has asked for the name.
const WRITING: Duration = Duration::from_secs(1);

/// How long nobody writes before a replica is cut off: until Nginx has found again the one that was
/// cut off before, and has closed the connections that stood idle.
const QUIET: Duration = Duration::from_millis(2_500);

/// Reads of all services, again and again; each request is sent once. A service that answers 503
/// itself was reached, and nothing was lost.
async fn reads(
    once: &Client,
    event_id: Uuid,
    until: &Cell<Option<Instant>>,
) -> Result<u32, Failure> {
    let mut answered = 0;
    let began = Instant::now();
    while answered < READS_EACH || until.get().is_none_or(|until| Instant::now() < until) {
        match read_each(once, event_id).await {
            Err(failure) if is_shed(&failure) && began.elapsed() < generous(READING) => {
                println!("not lost: {failure}");
            }
            read => {
                read?;
                answered += READS;
            }
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn no_read_is_lost_that_waits_for_the_address_of_a_replica_that_is_gone() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(4, READERS).await?;
    let once: Vec<_> = hall
        .customers
        .iter()
        .map(|customer| customer.clone().with_budget(Budget::ONCE))
        .collect();
    for round in 0..ROUNDS {
        for service in ["catalog", "identity", "booking"] {
            let replica = stack.project.one(service).await?;
            let until = Cell::new(None);
            let cut = async {
                let cut = replica.disconnect().await;
                until.set(Some(Instant::now() + READING));
                cut
            };
            let readers = once.iter().map(|once| reads(once, hall.event_id, &until));
            let (cut, asked) = tokio::join!(cut, try_join_all(readers));
            stack.heal(Duration::from_secs(40)).await?;
            cut?;
            let asked: u32 = asked?.into_iter().sum();
            println!("round {round}: {asked} reads without {}", replica.name());
        }
        // Nginx finds them again.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    hall.every_promise_held().await
}

/// Holds a seat and gives it back, again and again. What is not answered is sent again with its key.
async fn writes(client: &Client, event_id: Uuid, until: Instant) -> Result<(), Failure> {
    for number in 0.. {
        if number >= HOLDS_EACH && Instant::now() >= until {
            break;
        }
        let hold = client.hold(event_id, &Wanted::Best(1)).await?;
        client.release(hold.id).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Nobody has a connection to the replica when it is gone, so what is meant for it waits for one in
/// vain, and begins anew where Nginx makes no second try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn no_write_is_lost_that_could_not_be_sent_to_a_replica_that_is_gone() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(5 * WRITERS, WRITERS).await?;
    let began = Utc::now().timestamp();
    for _ in 0..ROUNDS {
        let replica = stack.project.one("booking").await?;
        tokio::time::sleep(QUIET).await;
        replica.disconnect().await?;
        let until = Instant::now() + WRITING;
        let customers = hall.customers.iter();
        let written = customers.map(|customer| writes(customer, hall.event_id, until));
        let written = try_join_all(written).await;
        stack.heal(Duration::from_secs(40)).await?;
        written?;
    }
    only_what_was_sent_was_refused(&hall, began).await?;
    hall.every_promise_held().await
}

/// Looks up what became of the customers' writes since then. A client cannot tell why one was not
/// answered, and one may have been sent after all, on a connection that somebody else left; Nginx
/// logs the time in which each connection was made, or a dash where none was.
async fn only_what_was_sent_was_refused(hall: &Hall, since: i64) -> anyhow::Result<()> {
    let log = hall.stack.project.one("nginx").await?.logs(since).await?;
    let accounts = hall.customers.iter();
    let accounts: Vec<_> = accounts.map(|one| one.account_id().to_string()).collect();
    let lines = log.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_write = |line: &Value| {
        let is_theirs = accounts.iter().any(|id| line["account.id"] == *id);
        is_theirs && line["http.request.method"] != "GET"
    };
    let writes: Vec<Value> = lines.filter(is_write).collect();
    let count = |is: fn(&Value) -> bool| writes.iter().filter(|line| is(line)).count();
    println!(
        "{} writes, {} of them waited in vain for a connection, {} began anew",
        writes.len(),
        count(|line| connected(line).contains('-')),
        count(|line| text(line, "upstream.address").contains(" : ")),
    );
    ensure!(writes.len() > 50, "only {} writes", writes.len());
    let lost = writes.iter().find(|line| {
        let was_sent = connected(line).contains(|digit: char| digit.is_ascii_digit());
        line["http.response.status_code"].as_u64() >= Some(500) && !was_sent
    });
    ensure!(lost.is_none(), "refused, and never sent: {lost:?}");
    Ok(())
}

/// What Nginx says of each connection that it tried to make for a request.
fn connected(line: &Value) -> &str {
    text(line, "upstream.connect.seconds")
}

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}
