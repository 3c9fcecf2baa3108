//! The leading worker killed, stopped, and paused past its lease during a payout.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use client::catalog::NewEvent;
use client::{Order, OrderState};
use crowd::visit::cards;
use faults::{Container, Target};
use futures_util::future::try_join_all;
use messages::audit::AuditedSettlement;
use messages::bank::Kind;

use crate::deadline::{TRIES, generous};
use crate::stack::{Hall, Stack, eventually};

/// How long a node of Postgres may take to stop, and to lead in an etcd that knows nothing.
const STOP_BOUND: Duration = Duration::from_secs(10);
const PATRONI_BOUND: Duration = Duration::from_secs(40);

/// How long after a settlement was recorded its leader asks the bank for the payout, and a moment.
const ASKED_WITHIN: Duration = Duration::from_millis(1_200);

/// How long the bank takes for a payout to an account that is very slow.
const SLOW_PAYOUT: TimeDelta = TimeDelta::seconds(8);

/// Places orders, one after another, until a leader with a token above `token` sends the row of
/// one; tells how long after `since` that was, and the last order. An order that the former leader
/// was still quick enough to send says nothing. The row itself says when it was sent, so that
/// asking costs nothing; what the engine takes to act counts. `bound` is what is documented; the
/// deadline is generous.
async fn first_effect(
    hall: &Hall,
    since: DateTime<Utc>,
    token: i64,
    bound: Duration,
) -> anyhow::Result<(Order, Duration)> {
    let began = Instant::now();
    loop {
        let order = hall.order(0, cards::FINE).await?;
        // Later less often, so that the hall has seats for all orders.
        let is_late = began.elapsed() > bound;
        tokio::time::sleep(Duration::from_millis(if is_late { 1_000 } else { 100 })).await;
        let rows = hall.audit().await?.outbox;
        let new = rows
            .iter()
            .filter(|row| row.fence_token.is_some_and(|by| by > token));
        if let Some(sent_at) = new.filter_map(|row| row.sent_at).min() {
            return Ok((order, (sent_at - since).to_std().unwrap_or_default()));
        }
        ensure!(
            began.elapsed() < generous(bound),
            "no new leader has acted for {:?}",
            began.elapsed()
        );
    }
}

/// Waits for the next leader's first effect, and until its order is paid; then every promise held.
/// Returns how long the effect took.
async fn the_next_acts(
    hall: &Hall,
    since: DateTime<Utc>,
    token: i64,
    bound: Duration,
) -> anyhow::Result<Duration> {
    let (order, took) = first_effect(hall, since, token, bound).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    hall.stack.heal(Duration::from_secs(60)).await?;
    hall.every_promise_held().await?;
    Ok(took)
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_leader_is_killed_the_next_one_acts() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(200, 1).await?;
    let (leader, token) = stack.leading_worker().await?;
    let since = Utc::now();
    leader.kill().await?;
    let bound = stack.lease + Duration::from_secs(2);
    let took = the_next_acts(&hall, since, token, bound).await?;
    println!("killed: the next leader acted after {took:?}, of {bound:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_leader_that_is_stopped_gives_its_key_back_and_the_next_one_acts() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(200, 1).await?;
    let (leader, token) = stack.leading_worker().await?;
    let since = Utc::now();
    let stopping = tokio::spawn({
        let (leader, stack) = (leader.clone(), stack.clone());
        async move {
            leader.stop(generous(Duration::from_secs(10))).await?;
            // Its key is deleted by now: the next leader need not wait until the lease has run out.
            let etcd = stack.project.one("etcd-1").await?;
            let key = ["etcdctl", "get", "--print-value-only", "leader/worker"];
            etcd.run(&key).await
        }
    });
    let bound = stack.lease + Duration::from_secs(2);
    let (order, took) = first_effect(&hall, since, token, bound).await?;
    println!("stopped: the next leader acted after {took:?}, of 1 s");
    let key = stopping.await??;
    ensure!(
        leader.state().await?.exit_code == 0,
        "it did not end by itself"
    );
    ensure!(
        key.exit_code == 0 && !key.text.contains(leader.host_name()),
        "{key:?}"
    );
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    stack.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_leader_and_the_leader_of_etcd_may_be_killed_at_once() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(300, 1).await?;
    let (leader, token) = stack.leading_worker().await?;
    let etcd = etcd_leader(&stack).await?;
    let since = Utc::now();
    tokio::try_join!(leader.kill(), etcd.kill())?;
    let bound = stack.lease * 2 + Duration::from_secs(4);
    let took = the_next_acts(&hall, since, token, bound).await?;
    println!("killed with etcd's leader: the next leader acted after {took:?}, of {bound:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_token_grows_on_although_all_data_of_etcd_is_lost() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(300, 1).await?;
    let (_, token) = stack.leading_worker().await?;
    let mut members = Vec::new();
    for number in 1..=3 {
        members.push(stack.project.one(&format!("etcd-{number}")).await?);
    }
    // Which standbys have all that was acknowledged stands in etcd alone. So nobody may be promoted
    // by the new one before the old primary is there, and leads in it.
    let primary = Target::PostgresPrimary;
    let primary = stack.project.struck_by(primary, 0).await?.remove(0);
    let standbys = stack.project.holders(Target::PostgresStandby).await?;
    try_join_all(standbys.iter().map(|node| node.stop(generous(STOP_BOUND)))).await?;
    primary.stop(generous(STOP_BOUND)).await?;
    // All of them, before any comes back: with one old member left nothing would be lost.
    let wipe = ["rm", "-rf", "/data/member"];
    let wiped = try_join_all(members.iter().map(|member| member.run(&wipe))).await?;
    try_join_all(members.iter().map(|member| member.kill())).await?;
    let failed = wiped.iter().find(|printed| printed.exit_code != 0);
    ensure!(failed.is_none(), "{failed:?}");
    for member in &members {
        member.start().await?;
    }
    primary.start().await?;
    let leads = async || {
        let leader = leads_in_etcd(&members[0]).await?;
        Ok((leader.trim() == primary.service).then_some(()))
    };
    eventually(PATRONI_BOUND, "the old primary leads", leads).await?;
    for node in &standbys {
        node.start().await?;
    }
    let since = Utc::now();
    let bound = stack.lease * 2 + Duration::from_secs(20);
    let took = the_next_acts(&hall, since, token, bound).await?;
    let (_, now) = stack.leading_worker().await?;
    println!("etcd began anew: token {now} after {token}, the first effect after {took:?}");
    ensure!(now > token, "the token went back from {token} to {now}");
    Ok(())
}

/// The node of Postgres that leads, as etcd says.
async fn leads_in_etcd(member: &faults::Container) -> anyhow::Result<String> {
    let key = "/service/boxoffice/leader";
    let get = ["etcdctl", "get", "--print-value-only", key];
    Ok(member.run(&get).await?.text)
}

/// The member that leads etcd itself, as a member says.
pub async fn etcd_leader(stack: &Stack) -> anyhow::Result<faults::Container> {
    let mut leaders = stack.project.holders(Target::EtcdLeader).await?;
    leaders
        .pop()
        .context("no member of etcd says that it leads")
}

/// A settlement of the event that is recorded and not yet paid.
async fn due_settlement(hall: &Hall) -> anyhow::Result<AuditedSettlement> {
    let bound = hall.stack.settlement * 2 + Duration::from_secs(5);
    eventually(bound, "a settlement is due", async || {
        let audit = hall.audit().await?;
        Ok(audit
            .settlements
            .into_iter()
            .find(|settlement| settlement.state == "due"))
    })
    .await
}

/// A leader that was struck while it waited for the bank's answer to a payout.
struct Struck {
    leader: Container,
    token: i64,
    due: AuditedSettlement,
}

/// Strikes the leading worker in the middle of a payout to the event's very slow account. The bank's
/// books tell whether it was: what the bank is asked for it writes down eight seconds later, whether
/// or not the leader still waits. A busy machine may miss the moment, so there are several tries.
async fn struck_in_a_payout(
    hall: &Hall,
    strike: impl AsyncFn(&Container) -> anyhow::Result<()>,
) -> anyhow::Result<Struck> {
    let stack = &hall.stack;
    for _ in 0..TRIES {
        let order = hall.order(0, cards::FINE).await?;
        hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
            .await?;
        let due = due_settlement(hall).await?;
        tokio::time::sleep(ASKED_WITHIN).await;
        let (leader, token) = stack.leading_worker().await?;
        let is_early = stack.bank.movements_for(due.id).await?.is_empty();
        if token == due.fence_token && is_early {
            let before = Utc::now();
            strike(&leader).await?;
            let after = Utc::now();
            let bound = Duration::from_secs(20);
            let written = eventually(bound, "the bank writes the payout down", async || {
                let movements = stack.bank.movements_for(due.id).await?;
                Ok(movements.first().map(|payout| payout.created_at))
            })
            .await?;
            if written > after && written - SLOW_PAYOUT < before {
                return Ok(Struck { leader, token, due });
            }
        }
        println!("missed: payout {} was not under way", due.id);
        stack.heal(Duration::from_secs(30)).await?;
        paid(hall, &due).await?;
    }
    bail!("no leader was struck in the middle of a payout, in {TRIES} tries")
}

/// Waits until a settlement is paid.
async fn paid(hall: &Hall, due: &AuditedSettlement) -> anyhow::Result<AuditedSettlement> {
    eventually(
        Duration::from_secs(30),
        "the payout is recorded",
        async || {
            let audit = hall.audit().await?;
            let paid = |one: &AuditedSettlement| one.id == due.id && one.state == "paid";
            Ok(audit.settlements.into_iter().find(paid))
        },
    )
    .await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_leader_paused_in_a_payout_past_its_lease_is_refused_by_its_token_when_it_wakes()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut event = NewEvent::with_seats("A slow payout", 20);
    event.payout_account = cards::VERY_SLOW.to_owned();
    let hall = stack.hall_of(event, 1).await?;
    let began = Utc::now().timestamp();
    let series = r#"leader_fence_refusals_total{task="settle"}"#;
    let refusals = Cell::new(0.0);
    let struck = struck_in_a_payout(&hall, async |leader| {
        refusals.set(stack.metric(leader, series).await?);
        leader.pause().await
    })
    .await?;
    let (paused, token, due) = (struck.leader, struck.token, struck.due);

    // The next leader pays it, with the same key and a greater token.
    let paid = paid(&hall, &due).await;
    paused.unpause().await?;
    let paid = paid?;
    ensure!(
        paid.paid_fence_token.is_some_and(|by| by > token),
        "paid under {paid:?}"
    );

    // The one that slept finds the bank's answer on its connection, tries to record it, and is
    // refused by the token.
    eventually(
        Duration::from_secs(10),
        "the late write is refused by the token",
        async || Ok((stack.metric(&paused, series).await? > refusals.get()).then_some(())),
    )
    .await?;
    let log = paused.logs(began).await?;
    ensure!(
        log.contains("refused by the fencing token"),
        "the log says nothing of it"
    );
    let leader = stack.leader().await?.leader.context("nobody leads")?;
    ensure!(leader.token > token, "{leader:?} leads");

    let payouts = stack.bank.movements_for(due.id).await?;
    ensure!(
        payouts.len() == 1 && payouts[0].kind == Kind::Payout,
        "{payouts:?}"
    );
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_leader_killed_in_a_payout_leaves_it_to_the_next_and_it_is_paid_once()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut event = NewEvent::with_seats("A slow payout", 20);
    event.payout_account = cards::VERY_SLOW.to_owned();
    let hall = stack.hall_of(event, 1).await?;
    let struck = struck_in_a_payout(&hall, Container::kill).await?;
    let paid = paid(&hall, &struck.due).await?;
    ensure!(
        paid.paid_fence_token.is_some_and(|by| by > struck.token),
        "paid under {paid:?}"
    );
    ensure!(stack.bank.movements_for(struck.due.id).await?.len() == 1);
    stack.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}
