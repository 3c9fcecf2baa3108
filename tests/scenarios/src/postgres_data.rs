//! What lies on the disks of Postgres: one container at a time has a node's data, the archive never
//! changes a file, and all can be brought back to a moment.

use std::time::Duration;

use anyhow::{Context, ensure};
use client::OrderState;
use crowd::visit::cards;
use sqlx::Connection;
use tokio::process::Command;
use uuid::Uuid;

use crate::deadline::generous;
use crate::patroni;
use crate::stack::{Stack, eventually, superuser_of};

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

/// No money moves after the moment, so that the bank's books still agree with the ledger: they are
/// not brought back.
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
    stack.project.one("crowd").await?.stop_as_composed().await?;
    for worker in stack.project.containers("worker").await? {
        worker.stop_as_composed().await?;
    }
    let (succeeded, said) = operator(&stack, BACKUP_BOUND, "make", &["backup"]).await?;
    ensure!(succeeded, "{said}");
    tokio::time::sleep(A_WHILE).await;

    let mut booking = superuser_of("booking").await?;
    let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";
    let moment: String = sqlx::query_scalar(now).fetch_one(&mut booking).await?;
    let before = hall.possessions().await?;
    tokio::time::sleep(A_WHILE).await;
    sqlx::query("TRUNCATE orders CASCADE")
        .execute(&mut booking)
        .await?;
    booking.close().await?;
    let gone = hall.audit().await?.orders;
    ensure!(gone.is_empty(), "{gone:?}");

    let at = format!("AT={moment}");
    let (succeeded, said) = operator(&stack, RESTORE_BOUND, "make", &["restore", &at]).await?;
    println!("{said}");
    ensure!(succeeded, "{said}");
    stack.heal(HEAL_BOUND).await?;
    eventually(HEAL_BOUND, "all is as it was", async || {
        let after = hall.possessions().await?;
        ensure!(after == before, "{after} was {before}");
        Ok(Some(()))
    })
    .await?;
    let order = hall.customers[0].read_order(order.id).await?;
    ensure!(order.state == OrderState::Paid, "{order:?}");
    hall.purchase_within(0, Duration::from_secs(20)).await?;
    hall.every_promise_held().await
}

/// A node that promotes itself takes the number of its new timeline. Where another node has taken it
/// the command ends with 126, by which Postgres ends too, instead of going on.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_timeline_that_another_node_has_taken_ends_a_promotion() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    // Far above all that a cluster comes to.
    let history = "7FFFFF01.history";
    let claim = |whose: &str| {
        format!(
            "rm -rf /tmp/claim && mkdir -p /tmp/claim/pg_wal && cd /tmp/claim \
            && printf {whose} >pg_wal/{history} && sh /etc/boxoffice/archive.sh claim"
        )
    };
    let one = stack.project.one("postgres-1").await?;
    let other = stack.project.one("postgres-2").await?;
    let mut ended = Vec::new();
    for (node, whose) in [(&one, "one"), (&other, "other"), (&one, "one")] {
        let done = node.run(&["sh", "-c", &claim(whose)]).await?;
        ended.push(done.exit_code);
    }
    let remove = format!("rm -f /var/lib/postgresql/archive/wal/{history}");
    one.run(&["sh", "-c", &remove]).await?;
    ensure!(ended == [0, 126, 0], "{ended:?}");
    Ok(())
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
        ("AT=2001-01-01 00:00:00", "no backup is older"),
        ("AT=2101-01-01 00:00:00", "still ahead"),
        ("AT=the day before", "no moment"),
    ] {
        let (succeeded, said) = operator(&stack, RUN_BOUND, "make", &["restore", at]).await?;
        ensure!(!succeeded && said.contains(why), "{at}: {said}");
    }
    ensure!(patroni::leader(&nodes).await? == primary);
    hall.purchase_within(0, Duration::from_secs(10)).await?;
    hall.every_promise_held().await
}

/// That is how of two nodes which promote themselves to one timeline only one succeeds.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_name_in_the_archive_is_written_once() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let name = format!("scenario-{}", Uuid::now_v7());
    let archive = "sh /etc/boxoffice/archive.sh";
    let put = |content: &str| {
        format!("printf {content} >/tmp/{name} && {archive} put /tmp/{name} {name}")
    };
    let one = stack.project.one("postgres-1").await?;
    let other = stack.project.one("postgres-2").await?;
    let (left, right) = (put("left"), put("right"));
    let (left, right) = (["sh", "-c", &left], ["sh", "-c", &right]);
    let (first, second) = tokio::try_join!(one.run(&left), other.run(&right))?;
    let succeeded = [&first, &second].map(|done| done.exit_code == 0);
    ensure!(succeeded[0] != succeeded[1], "{first:?}, {second:?}");
    let kept = if succeeded[0] { left } else { right };
    for node in [&one, &other] {
        let again = node.run(&kept).await?;
        ensure!(again.exit_code == 0, "the same content: {again:?}");
    }
    let get = format!("{archive} get {name} /tmp/{name} && cat /tmp/{name}");
    let got = other.run(&["sh", "-c", &get]).await?;
    let expected = if succeeded[0] { "left" } else { "right" };
    ensure!(got.text == expected, "{got:?}");
    let get = format!("{archive} get {name}-none /tmp/{name}");
    let none = one.run(&["sh", "-c", &get]).await?;
    ensure!(none.exit_code == 1, "what is not there: {none:?}");
    let remove = format!("rm /var/lib/postgresql/archive/wal/{name}");
    one.run(&["sh", "-c", &remove]).await?;
    Ok(())
}
