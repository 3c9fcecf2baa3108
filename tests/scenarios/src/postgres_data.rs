//! What lies on the disks of Postgres: one container at a time has a node's data, a timeline's number
//! is taken once, and all can be brought back to a moment.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use client::booking::Wanted;
use crowd::visit::cards;
use faults::{Fault, Kind, Target};
use serde_json::Value;
use sqlx::Connection;
use tokio::process::Command;

use crate::deadline::generous;
use crate::patroni;
use crate::stack::{Hall, Stack, eventually, refused_with, superuser_of};

/// How long a command may take that starts a container.
const RUN_BOUND: Duration = generous(Duration::from_secs(60));

/// How long a backup may take, and a restore with all that is stopped and started for it.
const BACKUP_BOUND: Duration = generous(Duration::from_secs(60));
const RESTORE_BOUND: Duration = generous(Duration::from_secs(240));

/// How long after a restore all must be well.
const HEAL_BOUND: Duration = Duration::from_secs(90);

/// Between two moments that a restore must tell apart, and more than the second by which backups are
/// named.
const A_WHILE: Duration = Duration::from_secs(3);

/// A timeline that no cluster of a test reaches.
const CLAIMED: &str = "0FFFFFFF";

/// Runs a command as an operator of this stack does; whether it succeeded, and all that it printed.
async fn operator(
    stack: &Stack,
    bound: Duration,
    program: &str,
    arguments: &[&str],
) -> anyhow::Result<(bool, String)> {
    let running = Command::new(program)
        .args(arguments)
        .env("COMPOSE_PROJECT_NAME", stack.project.name())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(bound, running)
        .await
        .with_context(|| format!("{arguments:?} took longer than {bound:?}"))??;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}

/// `docker compose run` gives the second container the same volume.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_second_container_of_a_node_ends_and_leaves_the_primary_alone() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let nodes = patroni::nodes(&stack).await?;
    let primary = patroni::leader(&nodes).await?;
    let service = primary.service.as_str();
    let run = ["compose", "run", "--rm", "--no-deps", "-T", service];
    let (succeeded, said) = operator(&stack, RUN_BOUND, "docker", &run).await?;
    let is_told = said.contains("another container has the data");
    ensure!(!succeeded && is_told, "{said}");
    patroni::goes_on(&primary, &nodes, Duration::from_secs(5)).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}

/// The workers and the crowd stand still, so that no money moves: the bank's books are not brought back.
async fn nothing_moves(stack: &Stack) -> anyhow::Result<()> {
    stack.project.one("crowd").await?.stop_as_composed().await?;
    for worker in stack.project.containers("worker").await? {
        worker.stop_as_composed().await?;
    }
    Ok(())
}

/// The present moment, by the clock of the database.
async fn moment() -> anyhow::Result<String> {
    let mut booking = superuser_of("booking").await?;
    let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
    let moment = sqlx::query_scalar(now).fetch_one(&mut booking).await?;
    booking.close().await?;
    tokio::time::sleep(A_WHILE).await;
    Ok(moment)
}

/// What refers to orders goes with them: seats, tickets, the outbox.
async fn delete_all_orders() -> anyhow::Result<()> {
    let mut booking = superuser_of("booking").await?;
    sqlx::query("TRUNCATE orders CASCADE")
        .execute(&mut booking)
        .await?;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut booking)
        .await?;
    booking.close().await?;
    ensure!(left == 0, "{left} orders are left");
    Ok(())
}

async fn backup(stack: &Stack) -> anyhow::Result<()> {
    let (succeeded, said) = operator(stack, BACKUP_BOUND, "make", &["backup"]).await?;
    ensure!(succeeded, "{said}");
    tokio::time::sleep(A_WHILE).await;
    Ok(())
}

/// `make restore` with these variables; what it said.
async fn restore(stack: &Stack, variables: &[String]) -> anyhow::Result<String> {
    let mut arguments = vec!["restore"];
    arguments.extend(variables.iter().map(String::as_str));
    let (succeeded, said) = operator(stack, RESTORE_BOUND, "make", &arguments).await?;
    println!("{said}");
    ensure!(succeeded, "{said}");
    Ok(said)
}

/// Makes another node the primary. Nothing is healed, so that what stands still does so.
async fn switch_over(stack: &Stack) -> anyhow::Result<()> {
    let made = stack
        .project
        .strike(&Fault {
            target: Target::PostgresPrimary,
            kind: Kind::Switch,
            which: 0,
            lasts: Duration::ZERO,
        })
        .await?;
    made.undo().await?;
    Ok(())
}

async fn is_as_it_was(hall: &Hall, before: &Value) -> anyhow::Result<()> {
    eventually(HEAL_BOUND, "all is as it was", async || {
        let after = hall.possessions().await?;
        ensure!(after == *before, "{after} was {before}");
        Ok(Some(()))
    })
    .await
}

/// All is well and as it was, and customers buy on.
async fn goes_on_as_it_was(hall: &Hall, before: &Value) -> anyhow::Result<()> {
    hall.stack.heal(HEAL_BOUND).await?;
    is_as_it_was(hall, before).await?;
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn after_all_orders_were_deleted_they_are_as_they_were_the_second_before()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    hall.quiet().await?;
    nothing_moves(&stack).await?;
    // One backup is the way back, and a later one does not take it away.
    backup(&stack).await?;
    let at = format!("AT={}", moment().await?);
    let before = hall.possessions().await?;
    // Another node leads by then, on a timeline that the moment is not on.
    switch_over(&stack).await?;
    eventually(HEAL_BOUND, "the new primary takes writes", async || {
        delete_all_orders().await?;
        Ok(Some(()))
    })
    .await?;
    backup(&stack).await?;
    backup(&stack).await?;

    let led = patroni::leader(&patroni::nodes(&stack).await?).await?;
    restore(&stack, &[at]).await?;
    stack.heal(HEAL_BOUND).await?;
    is_as_it_was(&hall, &before).await?;
    let leads = patroni::leader(&patroni::nodes(&stack).await?).await?;
    ensure!(leads.service == led.service, "{leads:?} after {led:?}");
    ensure!(leads.timeline > led.timeline, "{leads:?} after {led:?}");
    for node in Target::PostgresPrimary.services() {
        let left = ["sh", "-c", "ls -d /var/lib/postgresql/data/*restore*"];
        let left = stack.project.one(node).await?.run(&left).await?;
        ensure!(left.exit_code != 0, "{node} has {left:?}");
    }
    let order = hall.customers[0].read_order(order.id).await?;
    ensure!(order.state == OrderState::Paid, "{order:?}");
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}

/// The moment is in the segment that was being written: the archive has nothing of it.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_restore_after_all_nodes_were_killed_reaches_what_only_the_primary_had()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    hall.quiet().await?;
    nothing_moves(&stack).await?;
    backup(&stack).await?;
    hall.customers[0]
        .hold(hall.event_id, &Wanted::Best(1))
        .await?;
    let at = moment().await?;
    let before = hall.possessions().await?;
    delete_all_orders().await?;
    let node = kill_all_nodes(&stack).await?;
    restore(&stack, &[format!("AT={at}"), format!("NODE={node}")]).await?;
    goes_on_as_it_was(&hall, &before).await
}

/// Kills the standbys, then the primary, so that no other takes its place; says which that was.
async fn kill_all_nodes(stack: &Stack) -> anyhow::Result<String> {
    let nodes = patroni::nodes(stack).await?;
    let leader = patroni::leader(&nodes).await?;
    for node in &nodes {
        if node.service != leader.service {
            stack.project.one(&node.service).await?.kill().await?;
        }
    }
    stack.project.one(&leader.service).await?.kill().await?;
    Ok(leader.service)
}

/// The restore to the moment that was too early lets workers run. The bank stands still until the end,
/// because its books are not brought back.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_restore_to_too_early_a_moment_is_corrected_along_the_timeline_that_was_left()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(40, 1).await?;
    hall.quiet().await?;
    nothing_moves(&stack).await?;
    backup(&stack).await?;
    let early = moment().await?;
    let hold = hall.customers[0]
        .hold(hall.event_id, &Wanted::Best(1))
        .await?;
    let late = moment().await?;
    let before = hall.possessions().await?;
    delete_all_orders().await?;
    stack.project.one("bank").await?.stop_as_composed().await?;

    let said = restore(&stack, &[format!("AT={early}")]).await?;
    let holds = hall.audit().await?.holds;
    ensure!(holds.iter().all(|one| one.id != hold.id), "{holds:?}");
    let left = said.split("what was left is timeline ").nth(1);
    let left = left.and_then(|rest| rest.split_whitespace().next());
    let left = left.context("it does not say which timeline was left")?;

    restore(&stack, &[format!("AT={late}"), format!("TIMELINE={left}")]).await?;
    goes_on_as_it_was(&hall, &before).await
}

/// Nothing is stopped for a moment that cannot be reached.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_moment_before_every_backup_is_refused_and_nothing_stops() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let nodes = patroni::nodes(&stack).await?;
    let primary = patroni::leader(&nodes).await?;
    for (at, why) in [
        ("AT=2001-01-01 00:00:00", "unable to find backup set"),
        ("AT=2101-01-01 00:00:00", "still ahead"),
        ("AT=the day before", "no moment"),
    ] {
        let (succeeded, said) = operator(&stack, RUN_BOUND, "make", &["restore", at]).await?;
        ensure!(!succeeded && said.contains(why), "{at}: {said}");
    }
    let (succeeded, said) = operator(&stack, RUN_BOUND, "make", &["restore"]).await?;
    ensure!(
        !succeeded && said.contains("timestamp start/stop"),
        "{said}"
    );
    ensure!(patroni::leader(&nodes).await? == primary);
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}

/// That is how of two nodes which promote themselves to one timeline only one succeeds.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_number_of_a_timeline_is_taken_once() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let one = stack.project.one("postgres-1").await?;
    let other = stack.project.one("postgres-2").await?;
    // In a copy that has no data but the identity of the cluster and a history, of a timeline that this
    // cluster never reaches, from another such.
    let claim = |reason: &str| {
        format!(
            r"set -e; data=/tmp/{CLAIMED}; rm -rf $data; mkdir -p $data/pg_wal $data/global
            cp /var/lib/postgresql/data/cluster/global/pg_control $data/global/
            printf '268435454\t0/5000000\t{reason}\n' >$data/pg_wal/{CLAIMED}.history
            sed s,^data=.*,data=$data, /etc/boxoffice/archive.sh >$data/archive.sh
            sh $data/archive.sh claim"
        )
    };
    let (left, right) = (claim("left"), claim("right"));
    let (left, right) = (["sh", "-c", &left], ["sh", "-c", &right]);
    let (first, second) = tokio::try_join!(one.run(&left), other.run(&right))?;
    let codes = [first.exit_code, second.exit_code];
    let kept = if codes[0] == 0 { "left" } else { "right" };
    // From 126 on Postgres ends its promotion.
    let is_taken_once = codes == [0, 126] || codes == [126, 0];
    let get =
        format!("sh /etc/boxoffice/archive.sh get {CLAIMED}.history /tmp/got && cat /tmp/got");
    let got = other.run(&["sh", "-c", &get]).await?;
    let again = if kept == "left" { left } else { right };
    let again = other.run(&again).await?;
    let remove = format!("rm /var/lib/pgbackrest/timelines/*/{CLAIMED}.history");
    one.run(&["sh", "-c", &remove]).await?;
    ensure!(is_taken_once, "{first:?}, {second:?}");
    ensure!(got.text.contains(kept), "{got:?}");
    ensure!(again.exit_code == 0, "the same content: {again:?}");
    Ok(())
}

/// The name of a segment on the timeline of this node, far past all that was written.
fn far_segment(node: &patroni::Leader) -> String {
    format!("{:08X}00000FFF00000001", node.timeline)
}

/// What a lost primary wrote past the promotion of another is on no other node.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_segment_past_the_end_of_its_timeline_is_not_archived() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let nodes = patroni::nodes(&stack).await?;
    let before = patroni::leader(&nodes).await?;
    switch_over(&stack).await?;
    stack.heal(HEAL_BOUND).await?;
    let primary = patroni::leader(&nodes).await?;
    ensure!(primary.timeline > before.timeline, "{primary:?}");
    let node = stack.project.one(&primary.service).await?;
    // One that could have been written on the timeline before, far past its end.
    let name = far_segment(&before);
    let push = format!("sh /etc/boxoffice/archive.sh push pg_wal/{name}");
    let pushed = node.run(&["sh", "-c", &push]).await?;
    let is_refused = pushed.text.contains("past the end of its timeline");
    ensure!(pushed.exit_code == 0 && is_refused, "{pushed:?}");
    // The same name on the present timeline is taken for what it is: a file that is not there.
    let name = far_segment(&primary);
    let push = format!("sh /etc/boxoffice/archive.sh push pg_wal/{name}");
    let pushed = node.run(&["sh", "-c", &push]).await?;
    ensure!(pushed.exit_code != 0, "{pushed:?}");
    Ok(())
}

/// The same disk has the data of the whole stack, so the archive gives way.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_archive_keeps_its_size_and_leaves_room_on_the_disk() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let primary = patroni::leader(&patroni::nodes(&stack).await?).await?;
    let node = stack.project.one(&primary.service).await?;
    for _ in 0..2 {
        backup(&stack).await?;
    }
    // A backup alone is larger than this; the newest stays all the same.
    let prune = "BACKUP_MAX_MB=1 sh /etc/boxoffice/backup.sh prune \
        && ls -d /var/lib/pgbackrest/repository/backup/boxoffice/*F | wc -l";
    let pruned = node.run(&["sh", "-c", prune]).await?;
    let left = pruned.text.trim_end().lines().last();
    ensure!(pruned.exit_code == 0 && left == Some("1"), "{pruned:?}");

    // More than the disk has. Without this the same command fails: there is no such file.
    let name = far_segment(&primary);
    let push = format!(
        "sed s,^least_free_mb=.*,least_free_mb=99999999, /etc/boxoffice/archive.sh >/tmp/archive.sh
        sh /tmp/archive.sh push pg_wal/{name}"
    );
    let pushed = node.run(&["sh", "-c", &push]).await?;
    let is_skipped = pushed.text.contains("MB are free");
    ensure!(pushed.exit_code == 0 && is_skipped, "{pushed:?}");
    Ok(())
}

/// As after a restore to a moment before it was published: the catalog has it, and booking has not.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn an_event_that_booking_has_lost_is_on_sale_again_once_it_is_published_again()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let mut booking = superuser_of("booking").await?;
    sqlx::query("DELETE FROM events WHERE id = $1")
        .bind(hall.event_id)
        .execute(&mut booking)
        .await?;
    booking.close().await?;
    let held = hall.customers[0]
        .hold(hall.event_id, &Wanted::Best(1))
        .await;
    refused_with(held, 404, "not-found")?;
    hall.organiser.client.publish_event(hall.event_id).await?;
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}
