//! Nodes and sentinels of the Redis that keeps the sessions, lost one at a time: a replica takes
//! the primary's place, and meanwhile signed-in customers go on buying.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::{Budget, Client};
use faults::Container;

use crate::deadline::{RECOVERY, generous};
use crate::guest::Guest;
use crate::sentinels::{self, SENTINELS};
use crate::stack::{Hall, Stack, eventually, refusal, unavailable, unless_shed};

/// The nodes, of which one is the primary.
pub const NODES: [&str; 3] = ["redis-1", "redis-2", "redis-3"];

/// From the loss of the primary to the first sign-in, as promised.
const BOUND: Duration = Duration::from_secs(10);

/// How long a lost node is left away after a replica has taken its place.
const AWAY: Duration = Duration::from_secs(3);

/// How long an old primary may take until it follows the new one. One that wakes from a pause
/// calls itself the primary until the sentinels correct it, which they do after ten seconds.
const RETURN_BOUND: Duration = Duration::from_secs(25);

/// How long a purchase may take while there is no primary, its payment included.
const PURCHASE_BOUND: Duration = Duration::from_secs(6);

/// For how long it is watched that nothing is seen of a part that is lost, and how many refusals may be
/// those of a busy machine. Without a part that was needed, each attempt is refused for seconds.
const UNSEEN: Duration = Duration::from_secs(6);
const REFUSED: u32 = 2;

/// Asks the Redis process in a container, in one line.
async fn ask(container: &Container, port: &str, question: &str) -> anyhow::Result<String> {
    let script = format!(
        "REDISCLI_AUTH=$(cat /run/secrets/redis/redis_password) \
         exec timeout 4 redis-cli -p {port} {question}"
    );
    let printed = container.run(&["sh", "-c", &script]).await?;
    ensure!(printed.exit_code == 0, "{}: {printed:?}", container.name());
    Ok(printed.text.lines().collect::<Vec<_>>().join(" "))
}

/// The address of the primary, as this sentinel knows it.
async fn named_by(sentinel: &Container) -> anyhow::Result<String> {
    let question = "sentinel get-master-addr-by-name boxoffice";
    let answer = ask(sentinel, "26379", question).await?;
    let address = answer.split(' ').next().filter(|word| !word.is_empty());
    Ok(address.context("no primary is named")?.to_owned())
}

/// The node that is the primary, by its own word and that of the sentinels.
pub async fn redis_primary(stack: &Stack) -> anyhow::Result<Container> {
    let bound = Duration::from_secs(20);
    eventually(bound, "Redis has a primary", async || {
        let named = named_by(&stack.project.one(SENTINELS[0]).await?).await?;
        for name in NODES {
            let node = stack.project.one(name).await?;
            if node.state().await?.address.as_ref() == Some(&named) {
                let role = ask(&node, "6379", "role").await?;
                return Ok(role.starts_with("master").then_some(node));
            }
        }
        Ok(None)
    })
    .await
}

/// Waits until every other node follows the primary.
async fn all_follow(stack: &Stack, primary: &Container) -> anyhow::Result<()> {
    eventually(RETURN_BOUND, "two replicas follow", async || {
        let info = ask(primary, "6379", "info replication").await?;
        let online = info.matches("state=online").count();
        Ok((online == 2).then_some(()))
    })
    .await?;
    stack.heal(Duration::from_secs(30)).await
}

/// What goes on while a part is lost. Each loop ends when the fault is over.
struct Meanwhile<'a> {
    hall: &'a Hall,
    /// Signed out before the fault.
    gone: Client,
    is_over: Cell<bool>,
}

impl<'a> Meanwhile<'a> {
    async fn begin(hall: &'a Hall, guest: &Guest) -> anyhow::Result<Self> {
        let gone = guest.sign_in(RECOVERY).await?;
        gone.sign_out().await?;
        Ok(Self {
            hall,
            gone: gone.with_budget(Budget::ONCE),
            is_over: Cell::new(false),
        })
    }

    /// Every purchase succeeds.
    async fn buying(&self) -> anyhow::Result<()> {
        let (mut bought, mut slowest) = (0, Duration::ZERO);
        while !self.is_over.get() {
            slowest = slowest.max(self.hall.purchase_within(0, PURCHASE_BOUND).await?);
            bought += 1;
        }
        println!("{bought} purchases, the slowest took {slowest:?}");
        ensure!(bought > 0, "nothing was bought");
        Ok(())
    }

    /// Every check of a session is made, or one repetition repairs it.
    async fn being_known(&self) -> anyhow::Result<()> {
        let once = self.hall.customers[1].clone().with_budget(Budget::ONCE);
        let (mut asked, mut failed, mut slowest) = (0, 0, Duration::ZERO);
        while !self.is_over.get() {
            let began = Instant::now();
            let done = once.me().await;
            slowest = slowest.max(began.elapsed());
            asked += 1;
            if let Err(failure) = done {
                println!("a check of a session failed: {failure}");
                failed += 1;
                unless_shed(async || once.me().await).await?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{failed} of {asked} checks failed, the slowest took {slowest:?}");
        Ok(())
    }

    /// The session that was signed out opens nothing. Without a primary nobody can tell why a
    /// replica does not have it, hence the 503.
    async fn staying_out(&self) -> anyhow::Result<()> {
        while !self.is_over.get() {
            let (status, problem) = refusal(self.gone.me().await)?;
            ensure!(
                matches!(status, 401 | 503),
                "a session that is over: {status} {problem}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        while refusal(self.gone.me().await)?.0 != 401 {
            ensure!(began.elapsed() < generous(BOUND), "no session is judged");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// All of these while `fault` runs.
    async fn during(&self, fault: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let fault = async {
            let done = fault.await;
            self.is_over.set(true);
            done
        };
        let loops = Box::pin(async {
            tokio::try_join!(self.buying(), self.being_known(), self.staying_out()).map(drop)
        });
        tokio::try_join!(fault, loops).map(drop)
    }
}

/// Signs in again and again until it succeeds, and tells when it did; every refusal is an honest
/// one.
async fn first_sign_in(guest: &Guest, since: Instant) -> anyhow::Result<(Client, Instant)> {
    let mut refused = 0;
    loop {
        match guest.sign_in(Budget::ONCE).await {
            Ok(client) => {
                println!(
                    "signed in {:?} after the fault, {refused} refusals",
                    since.elapsed()
                );
                return Ok((client, Instant::now()));
            }
            failed => unavailable(failed.map(drop))?,
        }
        refused += 1;
        ensure!(
            since.elapsed() < generous(BOUND),
            "no sign-in succeeded for {:?}",
            since.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Pause,
}

async fn the_primary_is_lost(fault: Fault) -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let old = redis_primary(&stack).await?;
    all_follow(&stack, &old).await?;
    let hall = stack.hall(400, 2).await?;
    let guest = Guest::sign_up(&stack).await?;
    let meanwhile = Meanwhile::begin(&hall, &guest).await?;
    let sentinels = sentinels::connections(&stack).await?;
    let address = old.state().await?.address.context("no address")?;
    meanwhile
        .during(Box::pin(async {
            let since = Instant::now();
            match fault {
                Fault::Kill => old.kill().await?,
                Fault::Pause => old.pause().await?,
            }
            let ((begun, signed_in), named) = tokio::try_join!(
                Box::pin(first_sign_in(&guest, since)),
                Box::pin(sentinels::name_another(
                    sentinels,
                    &address,
                    generous(BOUND)
                )),
            )?;
            let took = signed_in.saturating_duration_since(named);
            println!("that was {took:?} after a sentinel named another primary");
            tokio::time::sleep(AWAY).await;
            match fault {
                Fault::Kill => old.start().await?,
                Fault::Pause => old.unpause().await?,
            }
            let new = redis_primary(&stack).await?;
            ensure!(new.service != old.service, "{} leads again", old.name());
            eventually(RETURN_BOUND, "the old primary follows", async || {
                let role = ask(&old, "6379", "role").await?;
                Ok(role.starts_with("slave").then_some(()))
            })
            .await?;
            all_follow(&stack, &new).await?;
            println!("{} took the place of {}", new.name(), old.name());
            // Begun without the old primary, and known with it.
            begun.me().await?;
            Ok(())
        }))
        .await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn signed_in_customers_go_on_buying_while_the_primary_of_redis_is_killed()
-> anyhow::Result<()> {
    the_primary_is_lost(Fault::Kill).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn signed_in_customers_go_on_buying_while_the_primary_of_redis_is_paused()
-> anyhow::Result<()> {
    the_primary_is_lost(Fault::Pause).await
}

/// Kills a part that nobody misses, and starts it again.
async fn nothing_is_seen_without(stack: &Stack, part: &Container) -> anyhow::Result<()> {
    let hall = stack.hall(200, 2).await?;
    let guest = Guest::sign_up(stack).await?;
    let meanwhile = Meanwhile::begin(&hall, &guest).await?;
    meanwhile
        .during(Box::pin(async {
            part.kill().await?;
            let (began, mut refused) = (Instant::now(), 0);
            while began.elapsed() < UNSEEN {
                let visit = async {
                    let client = guest.sign_in(Budget::ONCE).await?;
                    client.me().await?;
                    client.sign_out().await
                };
                if let Err(failure) = visit.await {
                    println!("without {}: {failure}", part.name());
                    unavailable(Err::<(), _>(failure))?;
                    refused += 1;
                    ensure!(refused <= REFUSED, "{refused} visits were refused");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            part.start().await
        }))
        .await?;
    stack.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn nobody_sees_that_a_replica_of_redis_is_killed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let primary = redis_primary(&stack).await?;
    all_follow(&stack, &primary).await?;
    let replica = NODES.iter().find(|name| **name != primary.service);
    let replica = stack.project.one(replica.context("no replica")?).await?;
    nothing_is_seen_without(&stack, &replica).await?;
    let now = redis_primary(&stack).await?;
    ensure!(now.service == primary.service, "{} leads now", now.name());
    all_follow(&stack, &primary).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn nobody_sees_that_a_sentinel_is_killed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let primary = redis_primary(&stack).await?;
    all_follow(&stack, &primary).await?;
    nothing_is_seen_without(&stack, &stack.project.one(SENTINELS[1]).await?).await?;
    let now = redis_primary(&stack).await?;
    ensure!(now.service == primary.service, "{} leads now", now.name());
    Ok(())
}
