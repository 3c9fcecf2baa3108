//! Sessions that are over or forged, and headers that claim one: they open nothing.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chaos::sessions::Sessions;
use client::booking::Wanted;
use client::{Client, Failure, OrderState};
use crowd::password;
use crowd::visit::cards;
use uuid::Uuid;

use crate::deadline::RECOVERY;
use crate::guest::Guest;
use crate::redis_lost::redis_primary;
use crate::stack::{Stack, answered, eventually, refused_with, unless_shed};

/// Ends the session whose token is its argument in half a second, in the store that keeps it under
/// its hash.
const SHORTEN: &str = r#"
key=session:$(printf %s "$0" | sha256sum | cut -d ' ' -f 1)
REDISCLI_AUTH=$(cat /run/secrets/redis/redis_password) exec redis-cli pexpire "$key" 500
"#;

/// Takes the session whose token is its argument out of the store, behind the back of `identity`.
const REMOVE: &str = r#"
key=session:$(printf %s "$0" | sha256sum | cut -d ' ' -f 1)
REDISCLI_AUTH=$(cat /run/secrets/redis/redis_password) exec redis-cli del "$key"
"#;

/// Puts a session of this token and this account back into it.
const BRING_BACK: &str = r#"
key=session:$(printf %s "$0" | sha256sum | cut -d ' ' -f 1)
REDISCLI_AUTH=$(cat /run/secrets/redis/redis_password) exec redis-cli \
    hset "$key" account_id "$1" role customer
"#;

/// Refused by every service, whether it is asked to show something or to change it.
async fn is_let_in_nowhere(client: &Client, event_id: Uuid) -> anyhow::Result<()> {
    refused_with(client.me().await, 401, "unauthorized")?;
    refused_with(client.orders(None).await, 401, "unauthorized")?;
    refused_with(client.my_events(None).await, 401, "unauthorized")?;
    let wanted = Wanted::Best(1);
    refused_with(client.hold(event_id, &wanted).await, 401, "unauthorized")?;
    refused_with(client.publish_event(event_id).await, 401, "unauthorized")
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn a_session_whose_time_is_over_opens_nothing() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let before = hall.possessions().await?;
    let token = &ann.session().context("no session")?.token;
    ann.me().await?;
    let redis = redis_primary(&stack).await?;
    let shortened = redis.run(&["sh", "-c", SHORTEN, token]).await?;
    ensure!(
        shortened.exit_code == 0 && shortened.text.trim() == "1",
        "{shortened:?}"
    );
    eventually(Duration::from_secs(3), "the session is over", async || {
        Ok(ann.me().await.is_err().then_some(()))
    })
    .await?;
    is_let_in_nowhere(ann, hall.event_id).await?;
    ensure!(hall.possessions().await? == before, "something has changed");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_eleventh_sign_in_ends_the_oldest_session_and_its_owner_is_told_so()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let guest = Guest::sign_up(&stack).await?;
    let oldest = guest.sign_in(RECOVERY).await?;
    let signed_out = guest.sign_in(RECOVERY).await?;
    signed_out.sign_out().await?;
    let mut newest = oldest.clone();
    for _ in 0..10 {
        newest = guest.sign_in(RECOVERY).await?;
    }
    newest.me().await?;
    for (client, why) in [(oldest, "a newer sign-in"), (signed_out, "signing out")] {
        let Err(Failure::Refused(answer)) = client.me().await else {
            bail!("a session that was ended opens something: {why}");
        };
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        ensure!(
            answer.problem() == Some("unauthorized") && detail.contains(why),
            "{why}: {}",
            answer.body
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn forged_sessions_and_one_that_was_signed_out_open_nothing() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let ann = hall.customers[0].clone();
    let session = ann.session().context("no session")?.clone();
    let token = session.token.clone();
    let before = hall.possessions().await?;
    let mut flipped = token.clone().into_bytes();
    let last = flipped.last_mut().context("an empty token")?;
    *last = if *last == b'a' { b'b' } else { b'a' };
    let forged = [
        String::new(),
        "x".to_owned(),
        String::from_utf8(flipped)?,
        token.to_uppercase(),
        token.repeat(2),
        token[..token.len() / 2].to_owned(),
        "../../etc".to_owned(),
        "*".to_owned(),
    ];
    for forged in forged {
        ensure!(forged != token, "a token without letters: try again");
        let mut session = session.clone();
        session.token = forged;
        let eve = ann.clone().with_session(session);
        is_let_in_nowhere(&eve, hall.event_id).await?;
    }
    // A session that was ended is over at once, everywhere.
    ann.sign_out().await?;
    is_let_in_nowhere(&ann, hall.event_id).await?;
    ensure!(hall.possessions().await? == before, "something has changed");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn headers_that_say_who_somebody_is_are_not_believed() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 2).await?;
    let order = hall.order(0, cards::FINE).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    let ann = hall.customers[0].account_id().to_string();
    let bob = hall.customers[1]
        .session()
        .context("no session")?
        .token
        .clone();
    let path = format!("{}/api/booking/orders/{}", stack.door.address(), order.id);
    for (session, wanted) in [(None, 401), (Some(bob), 404)] {
        let mut request = stack
            .door
            .http()
            .get(&path)
            .header("x-account-id", &ann)
            .header("x-account-role", "customer");
        if let Some(session) = session {
            request = request.bearer_auth(session);
        }
        let status = answered(request).await?.status();
        ensure!(status == wanted, "{status}, not {wanted}");
    }
    hall.every_promise_held().await
}

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn headers_that_no_service_reads_do_not_fail_the_check_of_a_session() -> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let token = &hall.customers[0].session().context("no session")?.token;
    let mut ask = stack
        .door
        .http()
        .get(format!("{}/api/booking/orders", stack.door.address()))
        .bearer_auth(token);
    // More than a service takes.
    for number in 0..120 {
        ask = ask.header(format!("x-{number}"), "b");
    }
    let status = answered(ask).await?.status();
    ensure!(status == 200, "a request with 120 headers: {status}");
    Ok(())
}

/// The checker that judges sessions after each fault is trusted because it has been seen to fail.
#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn the_checker_of_sessions_finds_one_that_is_gone_and_one_that_came_back()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let (visitor, password) = (stack.visitor(), password());
    let email = format!("sessions-{}@crowd.example", Uuid::now_v7());
    let account = visitor
        .sign_up(&email, &password, "In and Out", "customer")
        .await?;
    let sessions = Sessions::of(visitor, vec![email], password);
    // Out again, and not.
    unless_shed(async || sessions.sign_in(0).await).await?;
    unless_shed(async || sessions.sign_in(1).await).await?;
    let quiet = stack.visitor();
    let wrongs = sessions.wrongs(&quiet, &[]).await;
    ensure!(wrongs.is_empty(), "{wrongs:?}");

    let [begun, ended] = sessions.kept();
    let begun = begun.first().context("none was begun")?.clone();
    let ended = ended.first().context("none was ended")?;
    let redis = redis_primary(&stack).await?;
    let removed = redis.run(&["sh", "-c", REMOVE, &begun.token]).await?;
    ensure!(removed.text.trim() == "1", "{removed:?}");
    let id = account.id.to_string();
    let bring_back: [&str; 5] = ["sh", "-c", BRING_BACK, &ended.token, &id];
    let brought = redis.run(&bring_back).await?;
    ensure!(brought.text.trim() == "2", "{brought:?}");
    // Somebody who is signed in, as he believes.
    let asking = stack.visitor().with_session(begun);
    refused_with(asking.me().await, 401, "unauthorized")?;
    let records = asking.history().records();
    let wrongs = sessions.wrongs(&quiet, &records).await;
    let says = ["is gone", "came back", "was answered 401"];
    let is_found = |what: &&str| wrongs.iter().any(|wrong| wrong.contains(*what));
    ensure!(says.iter().all(is_found) && wrongs.len() == 3, "{wrongs:?}");
    Ok(())
}
