//! The leading worker killed, stopped, and paused past its lease during a payout.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use messages::bank::Kind;
use tests::client::catalog::NewEvent;
use tests::client::internal::AuditSettlement;
use tests::client::{Order, OrderState};
use tests::crowd::visit::cards;
use tests::faults::Target;

use crate::stack::{Hall, Stack, eventually};

/// How long a node of Postgres may take to stop, and to lead in an etcd that knows nothing.
const STOP_BOUND: Duration = Duration::from_secs(10);
const PATRONI_BOUND: Duration = Duration::from_secs(40);

/// Places orders, one after another, until a leader with a token above `token` sends the row of
/// one; tells how long after `since` that was, and the last order. An order that the former leader
/// was still quick enough to send says nothing. The row itself says when it was sent, so that
/// asking costs nothing; what the engine takes to act counts.
async fn first_effect(
    hall: &Hall,
    since: DateTime<Utc>,
    token: i64,
    bound: Duration,
) -> anyhow::Result<(Order, Duration)> {
    let deadline = Instant::now() + bound + Duration::from_secs(5);
    loop {
        let order = hall.order(0, cards::FINE).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rows = hall.audit().await?.outbox;
        let new = rows
            .iter()
            .filter(|row| row.fence_token.is_some_and(|by| by > token));
        if let Some(sent_at) = new.filter_map(|row| row.sent_at).min() {
            return Ok((order, (sent_at - since).to_std().unwrap_or_default()));
        }
        ensure!(
            Instant::now() < deadline,
            "no new leader has acted within {bound:?} and five seconds more"
        );
    }
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_leader_is_killed_the_next_one_acts_within_lease_and_two_seconds()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(200, 1).await?;
    let (leader, token) = stack.leading_worker().await?;
    let since = Utc::now();
    leader.kill().await?;
    let bound = stack.lease + Duration::from_secs(2);
    let (order, took) = first_effect(&hall, since, token, bound).await?;
    println!("killed: the next leader acted after {took:?}");
    ensure!(took <= bound, "it took {took:?}");
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    stack.project.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_the_leader_is_stopped_the_next_one_acts_within_a_second() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(200, 1).await?;
    let (leader, token) = stack.leading_worker().await?;
    let since = Utc::now();
    let stopping = tokio::spawn({
        let leader = leader.clone();
        async move { leader.stop(Duration::from_secs(10)).await }
    });
    let bound = Duration::from_secs(1);
    let (order, took) = first_effect(&hall, since, token, bound).await?;
    println!("stopped: the next leader acted after {took:?}");
    stopping.await??;
    ensure!(
        leader.state().await?.exit_code == 0,
        "it did not stop in time"
    );
    ensure!(took <= bound, "it took {took:?}");
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    stack.project.heal(Duration::from_secs(30)).await?;
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
    let (order, took) = first_effect(&hall, since, token, bound).await?;
    println!("killed with etcd's leader: the next leader acted after {took:?}");
    ensure!(took <= bound, "it took {took:?}");
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    stack.project.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_token_grows_on_although_all_data_of_etcd_is_lost() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(200, 1).await?;
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
    try_join_all(standbys.iter().map(|node| node.stop(STOP_BOUND))).await?;
    primary.stop(STOP_BOUND).await?;
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
    let (order, took) = first_effect(&hall, since, token, bound).await?;
    let (_, now) = stack.leading_worker().await?;
    println!("etcd began anew: token {now} after {token}, the first effect after {took:?}");
    ensure!(now > token, "the token went back from {token} to {now}");
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(15))
        .await?;
    stack.project.heal(Duration::from_secs(60)).await?;
    hall.every_promise_held().await
}

/// The node of Postgres that leads, as etcd says.
async fn leads_in_etcd(member: &tests::faults::Container) -> anyhow::Result<String> {
    let key = "/service/boxoffice/leader";
    let get = ["etcdctl", "get", "--print-value-only", key];
    Ok(member.run(&get).await?.text)
}

/// The member that leads etcd itself, as a member says.
pub async fn etcd_leader(stack: &Stack) -> anyhow::Result<tests::faults::Container> {
    let mut leaders = stack.project.holders(Target::EtcdLeader).await?;
    leaders
        .pop()
        .context("no member of etcd says that it leads")
}

/// A settlement of the event that is recorded and not yet paid.
async fn due_settlement(hall: &Hall) -> anyhow::Result<AuditSettlement> {
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

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_leader_paused_in_a_payout_past_its_lease_is_refused_by_its_token_when_it_wakes()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let mut event = NewEvent::with_seats("A slow payout", 20);
    event.payout_account = cards::VERY_SLOW.to_owned();
    let hall = stack.hall_of(event, 1).await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;

    let due = due_settlement(&hall).await?;
    // Its payout is asked for within a moment, and takes the bank eight seconds.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (paused, token) = stack.leading_worker().await?;
    ensure!(
        token == due.fence_token,
        "another leader recorded it: try again"
    );
    let series = r#"leader_fence_refusals_total{task="settle"}"#;
    let refusals = stack.metric(&paused, series).await?;
    ensure!(
        stack.bank.movements_for(due.id).await?.is_empty(),
        "the payout was too quick"
    );
    paused.pause().await?;

    // The next leader pays it, with the same key and a greater token.
    let paid = eventually(
        Duration::from_secs(25),
        "the next leader pays",
        async || {
            let audit = hall.audit().await?;
            let paid = |one: &AuditSettlement| one.id == due.id && one.state == "paid";
            Ok(audit.settlements.into_iter().find(paid))
        },
    )
    .await;
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
        async || Ok((stack.metric(&paused, series).await? > refusals).then_some(())),
    )
    .await?;
    let since = (Utc::now() - TimeDelta::seconds(15)).timestamp();
    let log = paused.logs(since).await?;
    ensure!(
        log.contains("refused by the fencing token"),
        "the log says nothing of it"
    );
    let leader = stack.leader().await?.leader.context("nobody leads")?;
    ensure!(
        leader.name != paused.host_name() && leader.token > token,
        "{leader:?} leads"
    );

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
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    let due = due_settlement(&hall).await?;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (leader, _) = stack.leading_worker().await?;
    leader.kill().await?;
    eventually(
        Duration::from_secs(30),
        "the payout is recorded",
        async || {
            let audit = hall.audit().await?;
            Ok(audit
                .settlements
                .iter()
                .any(|s| s.id == due.id && s.state == "paid")
                .then_some(()))
        },
    )
    .await?;
    ensure!(stack.bank.movements_for(due.id).await?.len() == 1);
    stack.project.heal(Duration::from_secs(30)).await?;
    hall.every_promise_held().await
}
