//! The primary of Postgres lost in each way, its standby, and the majority that could name
//! another: writes wait for a bounded time, and what was acknowledged is there.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::Utc;
use client::booking::Wanted;
use client::{Budget, Client};
use faults::{Fault, Kind, Target};
use tokio::task::JoinSet;

use crate::deadline::{A_MOMENT, generous};
use crate::haproxy;
use crate::patroni::{self, Node, Promotion};
use crate::stack::{Hall, Stack, eventually, unavailable};

/// From the fault to the first of ten good answers in a row, as promised. A primary that nobody
/// reaches any more is as good as killed.
const KILLED_BOUND: Duration = Duration::from_secs(25);
const PAUSED_BOUND: Duration = Duration::from_secs(30);
const SWITCHED_BOUND: Duration = Duration::from_secs(4);

/// So many good answers in a row are taken for good.
const IN_A_ROW: usize = 10;

/// For how long after the bound, and after the promotion, it is watched that nothing more is refused.
const WATCHED_FOR: Duration = Duration::from_secs(2);

/// How long the lost node may take to follow the others again.
const RETURN_BOUND: Duration = Duration::from_secs(60);

/// How long a node may take to take what it misses from the archive, with some turns of Patroni's
/// until it has a slot again and commits rest on it.
const CAUGHT_UP_BOUND: Duration = Duration::from_secs(80);

/// What Patroni logs of a node whose data it copies from another.
const COPIED: &str = "replica has been created using basebackup";

/// How long two nodes may take to start and to choose one of them, with two turns of Patroni's.
const CHOSEN_BOUND: Duration = Duration::from_secs(40);

/// How long a slot may take to be lost.
const LOST_BOUND: Duration = Duration::from_secs(40);

/// Makes a primary use the WAL again that an unavailable standby needs, as days would. Where the
/// machine is too busy for one turn, it is done again.
const LOSE_SLOTS: [&str; 7] = [
    "SET statement_timeout = '20s'",
    "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'",
    "SELECT pg_reload_conf()",
    // The other standby has all of it before it goes.
    "DO $$ BEGIN FOR segment IN 1..12 LOOP
        PERFORM pg_logical_emit_message(false, 'scenario', ''), pg_switch_wal();
        WHILE EXISTS (SELECT FROM pg_stat_replication
            WHERE flush_lsn < pg_current_wal_insert_lsn() - 16777216) LOOP
            PERFORM pg_sleep(0.05);
        END LOOP;
    END LOOP; END $$",
    "CHECKPOINT",
    "ALTER SYSTEM RESET max_slot_wal_keep_size",
    "SELECT pg_reload_conf()",
];

/// The lease of a primary and a round of Patroni's, and a moment: longer than one who cannot renew
/// it may go on if nothing else lets him.
const PAST_THE_LEASE: Duration = Duration::from_secs(32);

const BETWEEN_HOLDS: Duration = Duration::from_millis(100);

/// Customers who ask for holds in turn: so many that none of them asks again while a request of theirs
/// may still be in flight. Holds of one account for one event take turns.
const ASKING: u32 = 20;

fn on(target: Target, kind: Kind) -> Fault {
    Fault {
        target,
        kind,
        which: 0,
        lasts: Duration::ZERO,
    }
}

/// A hold that was asked for so long after the fault, and what came of it and of the seat overview.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    answered: Instant,
    given: bool,
    seen: bool,
}

/// Asks for holds and for the seat overview at a steady pace, each once, until so many in a row were
/// given that were requested after the promotion; tells when the first of them was answered. What is
/// refused meanwhile is refused honestly. `bound` is what is documented; the deadline is generous, and
/// counts from the promotion, which has one of its own.
async fn holds_again(
    hall: &Hall,
    fault: Instant,
    bound: Duration,
    promoted: &Cell<Option<Instant>>,
) -> anyhow::Result<Instant> {
    let mut asking = JoinSet::new();
    let mut answers = Vec::new();
    let mut pace = tokio::time::interval(BETWEEN_HOLDS);
    loop {
        pace.tick().await;
        let after = fault.elapsed();
        let (event_id, number) = (hall.event_id, answers.len());
        let customer = &hall.customers[number % hall.customers.len()];
        let once = customer.clone().with_budget(Budget::ONCE);
        answers.push(None);
        asking.spawn(async move {
            let at = Instant::now();
            let held = async {
                let hold = once.hold(event_id, &Wanted::Best(1)).await;
                (hold, Instant::now())
            };
            let (seen, (hold, answered)) = tokio::join!(once.availability(event_id), held);
            let asked = Asked {
                at,
                answered,
                given: hold.is_ok(),
                seen: seen.is_ok(),
            };
            if !asked.seen {
                unavailable(seen)?;
            }
            if !asked.given {
                unavailable(hold)?;
            }
            anyhow::Ok((number, asked))
        });
        while let Some(answer) = asking.try_join_next() {
            let (number, asked) = answer??;
            answers[number] = Some(asked);
        }
        // As far as all that was asked before is answered too.
        let all: Vec<Asked> = answers.iter().map_while(|answer| *answer).collect();
        let good = all.iter().rev();
        let good = good.take_while(|asked| asked.given && asked.seen);
        let good: Vec<Asked> = good.copied().collect();
        // What is good before the promotion may be from before the fault was felt.
        let Some(promoted) = promoted.get() else {
            continue;
        };
        ensure!(
            promoted.elapsed() < generous(bound) + WATCHED_FOR,
            "not given again until {after:?}"
        );
        let since = good.iter().filter(|asked| asked.at > promoted).count();
        if after > bound + WATCHED_FOR
            && promoted.elapsed() > WATCHED_FOR
            && since >= IN_A_ROW
            && let Some(first) = good.last()
            && let Some(answered) = good.iter().map(|asked| asked.answered).min()
        {
            let after = first.at.saturating_duration_since(fault);
            let not = |is: fn(&Asked) -> bool| all.iter().filter(|asked| !is(asked)).count();
            println!(
                "{} holds and {} overviews were refused; given {after:?} after the fault, of {bound:?}",
                not(|asked| asked.given),
                not(|asked| asked.seen),
            );
            return Ok(answered);
        }
    }
}

/// Whether Postgres logged that it took a segment of WAL from the archive: the name of one has 24
/// digits. The history of a timeline is taken with every start.
fn has_restored_a_segment(log: &str) -> bool {
    log.split("restored log file ").skip(1).any(|rest| {
        let name = rest.trim_start_matches(['\\', '"']);
        name.chars().take_while(char::is_ascii_hexdigit).count() == 24
    })
}

#[test]
fn a_history_from_the_archive_is_no_segment() {
    let log = |name: &str| format!(r#"LOG:  restored log file \"{name}\" from archive"#);
    assert!(!has_restored_a_segment(&log("00000003.history")));
    assert!(has_restored_a_segment(&log("000000010000000000000005")));
}

/// Holds for a while, of which none may be refused for longer than a busy machine refuses it.
async fn none_is_refused(client: &Client, hall: &Hall, time: Duration) -> anyhow::Result<()> {
    let client = client.clone().with_budget(A_MOMENT);
    let began = Instant::now();
    while began.elapsed() < time {
        client.hold(hall.event_id, &Wanted::Best(1)).await?;
        client.availability(hall.event_id).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// Waits for the promotion of one of these nodes, and says when it took commits.
async fn promotion(left: &[Node], promoted: &Cell<Option<Instant>>) -> anyhow::Result<Promotion> {
    let promotion = patroni::promotion(left, PAUSED_BOUND).await?;
    promoted.set(Some(promotion.commits));
    Ok(promotion)
}

async fn primary_lost(kind: Kind, bound: Duration) -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, ASKING).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    let nodes = patroni::nodes(&stack).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresPrimary, kind))
        .await?;
    let is_left = |node: &Node| made.struck().iter().all(|one| one.service != node.service);
    let left: Vec<Node> = nodes.into_iter().filter(is_left).collect();
    let promoted = Cell::new(None);
    let (given, promotion) = tokio::try_join!(
        Box::pin(holds_again(&hall, made.at, bound, &promoted)),
        Box::pin(promotion(&left, &promoted)),
    )?;
    let led = promotion.led.saturating_duration_since(made.at);
    let commits = promotion.commits.saturating_duration_since(made.at);
    let pools = given.saturating_duration_since(promotion.commits);
    println!("another led after {led:?}, took commits after {commits:?}; held {pools:?} later");
    hall.purchase_within(0, Duration::from_secs(15)).await?;
    made.undo().await?;
    stack.heal(RETURN_BOUND).await?;
    haproxy::every_session_leads_to_a_node(&stack).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_primary_is_killed_another_takes_writes_and_nothing_acknowledged_is_lost()
-> anyhow::Result<()> {
    primary_lost(Kind::Kill, KILLED_BOUND).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_primary_is_paused_another_takes_writes_and_nothing_acknowledged_is_lost()
-> anyhow::Result<()> {
    primary_lost(Kind::Pause, PAUSED_BOUND).await
}

/// Its customers and its standbys lose it at once; what nobody was told is undone when it is back.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_primary_is_cut_off_another_takes_writes_and_nothing_acknowledged_is_lost()
-> anyhow::Result<()> {
    primary_lost(Kind::Cut, KILLED_BOUND).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_a_planned_switchover_another_takes_writes() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, ASKING).await?;
    let nodes = patroni::nodes(&stack).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresPrimary, Kind::Switch))
        .await?;
    let is_left = |node: &Node| made.struck().iter().all(|one| one.service != node.service);
    let left: Vec<Node> = nodes.into_iter().filter(is_left).collect();
    let promoted = Cell::new(None);
    tokio::try_join!(
        Box::pin(holds_again(&hall, made.at, SWITCHED_BOUND, &promoted)),
        Box::pin(promotion(&left, &promoted)),
    )?;
    made.undo().await?;
    stack.heal(RETURN_BOUND).await?;
    haproxy::every_session_leads_to_a_node(&stack).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn nobody_notices_that_a_standby_was_killed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, ASKING).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresStandby, Kind::Kill))
        .await?;
    none_is_refused(&hall.customers[0], &hall, Duration::from_secs(12)).await?;
    made.undo().await?;
    stack.heal(RETURN_BOUND).await?;
    hall.every_promise_held().await
}

/// The node that is promoted next has missed a promotion. The archive tells it, so that it begins a
/// timeline of its own, and the node that is gone follows when it is back.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn whoever_took_over_and_was_gone_at_once_follows_the_next_primary() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(100, ASKING).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    let nodes = patroni::nodes(&stack).await?;
    let first = patroni::leader(&nodes).await?;
    let standbys: Vec<_> = nodes
        .iter()
        .filter(|node| node.service != first.service)
        .collect();
    // Of two standbys one is away, so that the other takes over and nobody follows it.
    let away = stack.project.one(&standbys[0].service).await?;
    away.stop_as_composed().await?;
    let lost = stack.project.one(&first.service).await?;
    lost.stop_as_composed().await?;
    let second = patroni::leader(&nodes).await?;
    let gone = stack.project.one(&second.service).await?;
    gone.stop_as_composed().await?;
    ensure!(second.service == standbys[1].service, "{second:?}");
    away.start().await?;
    lost.start().await?;
    let left = [
        patroni::node(&stack, &away.service).await?,
        patroni::node(&stack, &lost.service).await?,
    ];
    patroni::promotion(&left, CHOSEN_BOUND).await?;
    let third = patroni::leader(&left).await?;
    let began = Utc::now().timestamp();
    gone.start().await?;
    stack.heal(RETURN_BOUND).await?;
    println!("{first:?}, then {second:?}, then {third:?}");
    ensure!(
        third.timeline > second.timeline,
        "{third:?} after {second:?}"
    );
    let log = gone.logs(began).await?;
    ensure!(!log.contains(COPIED), "{log}");
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}

/// It was away for so long that the primary has used its WAL again, and its slot is lost. It is only
/// started.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_standby_whose_slot_is_lost_takes_what_it_misses_from_the_archive() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(100, ASKING).await?;
    let leader = patroni::leader(&patroni::nodes(&stack).await?).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresStandby, Kind::Kill))
        .await?;
    let primary = stack.project.one(&leader.service).await?;
    let away = made.struck()[0].clone();
    let slot = away.service.replace('-', "_");
    let status = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let psql = ["psql", "-XAtq", "-h", "/run/postgresql", "-U", "postgres"];
    let mut losing = psql.to_vec();
    for command in LOSE_SLOTS {
        losing.extend(["-c", command]);
    }
    let asking = [&psql[..], &["-c", &status]].concat();
    eventually(LOST_BOUND, "its slot is lost", async || {
        let done = primary.run(&losing).await?;
        let before = primary.run(&asking).await?;
        ensure!(before.text == "lost\n", "{done:?}, {before:?}");
        Ok(Some(()))
    })
    .await?;
    let began = Utc::now().timestamp();
    made.undo().await?;
    // Its health says nothing yet: commits may rest on it until Patroni's next turn. A slot that is lost
    // cannot be used again, so this is another one.
    let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let using = [&psql[..], &["-c", &active]].concat();
    eventually(CAUGHT_UP_BOUND, "it uses another slot", async || {
        let after = primary.run(&using).await?;
        ensure!(after.text == "t\n", "{after:?}");
        Ok(Some(()))
    })
    .await?;
    stack.heal(CAUGHT_UP_BOUND).await?;
    let log = away.logs(began).await?;
    ensure!(has_restored_a_segment(&log), "{log}");
    ensure!(!log.contains(COPIED), "{log}");
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}

/// And nobody takes its place: until a majority is back the same node leads on the same timeline.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn without_a_majority_of_etcd_the_primary_takes_writes_past_its_lease() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(300, ASKING).await?;
    let nodes = patroni::nodes(&stack).await?;
    let leader = patroni::leader(&nodes).await?;
    let made = stack
        .project
        .strike(&on(Target::EtcdPair, Kind::Kill))
        .await?;
    tokio::try_join!(
        Box::pin(none_is_refused(&hall.customers[0], &hall, PAST_THE_LEASE)),
        Box::pin(patroni::goes_on(&leader, &nodes, PAST_THE_LEASE)),
    )?;
    made.undo().await?;
    stack.heal(RETURN_BOUND).await?;
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}
