//! The primary of Postgres lost in each way, its standby, and the majority that could name
//! another: writes wait for a bounded time, and what was acknowledged is there.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::Utc;
use tests::client::booking::Wanted;
use tests::client::{Budget, Client};
use tests::faults::{Fault, Kind, Target};
use tokio::task::JoinSet;

use crate::haproxy;
use crate::patroni::{self, Node};
use crate::stack::{Hall, Stack, eventually, unavailable};

/// From the fault to the first of ten good answers in a row, as promised. A primary that nobody
/// reaches any more is as good as killed.
const KILLED_BOUND: Duration = Duration::from_secs(25);
const PAUSED_BOUND: Duration = Duration::from_secs(30);
const SWITCHED_BOUND: Duration = Duration::from_secs(4);

/// How long the pools may take after a promotion, until a hold is answered. It is counted from when
/// commits are acknowledged again: Postgres takes writes, and a standby follows it. HAProxy may need
/// half a second of it (`downinter` and `rise` in `deploy/haproxy/haproxy.cfg`), or less, because
/// Patroni gave the node its lock before; the rest is for the pause between two holds, a connection
/// and a hold.
const POOLS_BOUND: Duration = Duration::from_secs(1);

/// So many good answers in a row are taken for good.
const IN_A_ROW: usize = 10;

/// For how long after the bound it is watched that nothing more is refused.
const WATCHED_FOR: Duration = Duration::from_secs(2);

/// For how long the seat overview may be refused: while one standby is promoted and the other is
/// brought to follow it, there is no standby to read on.
const UNSEEN_BOUND: Duration = Duration::from_secs(5);

/// How long the lost node may take to follow the others again.
const RETURN_BOUND: Duration = Duration::from_secs(90);

/// How long a node may take that has to be copied anew: half a minute until that is sure, the copy,
/// and two turns of Patroni's until commits rest on it.
const COPIED_BOUND: Duration = Duration::from_secs(120);

/// How long two nodes may take to start and to choose one of them, with two turns of Patroni's.
const CHOSEN_BOUND: Duration = Duration::from_secs(40);

/// Makes a primary use the WAL again that a standby wants which is away, as days would.
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

fn on(target: Target, kind: Kind) -> Fault {
    Fault {
        target,
        kind,
        which: 0,
        lasts: Duration::ZERO,
    }
}

/// A hold that was asked for so long after the fault, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    after: Duration,
    answered: Instant,
    given: bool,
}

/// Holds are given again, and go on being given.
#[derive(Clone, Copy, Debug)]
struct Again {
    /// So long after the fault the first of them was asked for.
    after: Duration,
    /// When the first of them was answered.
    answered: Instant,
}

/// Asks for holds at a steady pace, each once, until so many in a row were given. What is refused
/// meanwhile is refused honestly, and the seat overview only around the promotion.
async fn holds_again(hall: &Hall, fault: Instant, bound: Duration) -> anyhow::Result<Again> {
    let mut asking = JoinSet::new();
    let mut answers = Vec::new();
    let mut unseen = 0;
    let mut pace = tokio::time::interval(BETWEEN_HOLDS);
    loop {
        pace.tick().await;
        let after = fault.elapsed();
        ensure!(after < 2 * bound, "not given again until {after:?}");
        let once = hall.customers[0].clone().with_budget(Budget::ONCE);
        let (event_id, number) = (hall.event_id, answers.len());
        answers.push(None);
        asking.spawn(async move {
            let held = async {
                let hold = once.hold(event_id, &Wanted::Best(1)).await;
                (hold, Instant::now())
            };
            let (seen, (hold, answered)) = tokio::join!(once.availability(event_id), held);
            let (is_seen, given) = (seen.is_ok(), hold.is_ok());
            if !is_seen {
                unavailable(seen)?;
            }
            if !given {
                unavailable(hold)?;
            }
            let asked = Asked {
                after,
                answered,
                given,
            };
            anyhow::Ok((number, asked, is_seen))
        });
        while let Some(answer) = asking.try_join_next() {
            let (number, asked, is_seen) = answer??;
            answers[number] = Some(asked);
            unseen += u32::from(!is_seen);
        }
        // As far as all that was asked before is answered too.
        let all: Vec<Asked> = answers.iter().map_while(|answer| *answer).collect();
        let good = all.iter().rev().take_while(|asked| asked.given);
        let good: Vec<Asked> = good.copied().collect();
        // What is good before the bound may be from before the fault was felt.
        if after > bound + WATCHED_FOR
            && good.len() >= IN_A_ROW
            && let Some(first) = good.last()
            && let Some(answered) = good.iter().map(|asked| asked.answered).min()
        {
            let (refused, after) = (all.len() - good.len(), first.after);
            let unseen = BETWEEN_HOLDS * unseen;
            println!(
                "{refused} requests until the last refusal; given {after:?} after the fault; \
                 no overview for {unseen:?}"
            );
            ensure!(unseen <= UNSEEN_BOUND, "no overview for {unseen:?}");
            return Ok(Again { after, answered });
        }
    }
}

/// Holds for a while, of which none may be refused.
async fn none_is_refused(client: &Client, hall: &Hall, time: Duration) -> anyhow::Result<()> {
    let once = client.clone().with_budget(Budget::ONCE);
    let began = Instant::now();
    while began.elapsed() < time {
        once.hold(hall.event_id, &Wanted::Best(1)).await?;
        once.availability(hall.event_id).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn primary_lost(kind: Kind, bound: Duration) -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, 1).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    let nodes = patroni::nodes(&stack).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresPrimary, kind))
        .await?;
    let is_left = |node: &Node| made.struck().iter().all(|one| one.service != node.service);
    let left: Vec<Node> = nodes.into_iter().filter(is_left).collect();
    let (again, promotion) = tokio::try_join!(
        Box::pin(holds_again(&hall, made.at, bound)),
        Box::pin(patroni::promotion(&left, 2 * bound)),
    )?;
    let led = promotion.led.saturating_duration_since(made.at);
    let commits = promotion.commits.saturating_duration_since(made.at);
    let pools = again.answered.saturating_duration_since(promotion.commits);
    println!("another led after {led:?}, took commits after {commits:?}; held {pools:?} later");
    hall.purchase_within(0, Duration::from_secs(15)).await?;
    made.undo().await?;
    stack.project.heal(RETURN_BOUND).await?;
    ensure!(again.after <= bound, "{:?}", again.after);
    ensure!(pools <= POOLS_BOUND, "{pools:?} after the promotion");
    haproxy::every_session_leads_to_a_node(&stack).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_primary_is_killed_another_takes_writes_within_25_seconds() -> anyhow::Result<()>
{
    primary_lost(Kind::Kill, KILLED_BOUND).await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_primary_is_paused_another_takes_writes_within_30_seconds() -> anyhow::Result<()>
{
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
async fn a_planned_switchover_stops_writes_for_four_seconds_at_most() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, 1).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresPrimary, Kind::Switch))
        .await?;
    let again = holds_again(&hall, made.at, SWITCHED_BOUND).await?;
    made.undo().await?;
    stack.project.heal(RETURN_BOUND).await?;
    ensure!(again.after <= SWITCHED_BOUND, "{:?}", again.after);
    haproxy::every_session_leads_to_a_node(&stack).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn nobody_notices_that_a_standby_was_killed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(400, 1).await?;
    let made = stack
        .project
        .strike(&on(Target::PostgresStandby, Kind::Kill))
        .await?;
    none_is_refused(&hall.customers[0], &hall, Duration::from_secs(12)).await?;
    made.undo().await?;
    stack.project.heal(RETURN_BOUND).await?;
    hall.every_promise_held().await
}

/// Whoever is promoted next cannot know of the promotion that it missed, and begins a timeline of
/// its own all the same. What the node wrote that is gone is undone when it is back.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn whoever_took_over_and_was_gone_at_once_follows_the_next_primary() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(100, 1).await?;
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
    stack.project.heal(RETURN_BOUND).await?;
    println!("{first:?}, then {second:?}, then {third:?}");
    ensure!(
        third.timeline > second.timeline,
        "{third:?} after {second:?}"
    );
    let log = gone.logs(began).await?;
    ensure!(
        log.contains("running pg_rewind") && !log.contains("copy-anew"),
        "{log}"
    );
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}

/// It was away for so long that the primary has used its WAL again, and its slot is lost. Nobody
/// does anything about it but start it.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_standby_whose_wal_is_gone_is_copied_anew() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(100, 1).await?;
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
    let done = primary.run(&losing).await?;
    let before = primary.run(&asking).await?;
    ensure!(before.text == "lost\n", "{done:?}, {before:?}");
    let began = Utc::now().timestamp();
    made.undo().await?;
    // Its health says nothing yet: commits may rest on it until Patroni's next turn.
    eventually(COPIED_BOUND, "there is another slot for it", async || {
        let after = primary.run(&asking).await?;
        Ok((after.text == "reserved\n").then_some(()))
    })
    .await?;
    stack.project.heal(COPIED_BOUND).await?;
    let log = away.logs(began).await?;
    ensure!(log.contains("copy-anew: this node"), "{log}");
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}

/// And nobody takes its place: until a majority is back the same node leads on the same timeline.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn without_a_majority_of_etcd_the_primary_takes_writes_past_its_lease() -> anyhow::Result<()>
{
    let stack = Stack::ready().await?;
    let hall = stack.hall(300, 1).await?;
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
    stack.project.heal(RETURN_BOUND).await?;
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}
