//! Answers that were lost after what was asked had taken effect.

use std::time::Duration;

use anyhow::ensure;
use client::booking::{Wanted, cancel_order, place_hold, place_order};
use client::internal::CALLER_KEY;
use client::{Ask, Client, Door, Failure, Hold, Order, OrderState};
use crowd::visit::cards;

use crate::deadline::{RECOVERY, TRIES};
use crate::proxy::Proxy;
use crate::stack::{Hall, Stack, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn an_answer_lost_on_the_way_to_the_client_is_repeated_for_its_key() -> anyhow::Result<()> {
    let hall = Stack::ready().await?.hall(20, 1).await?;
    let ann = &hall.customers[0];
    let upstream = hall
        .stack
        .door
        .address()
        .trim_start_matches("http://")
        .to_owned();
    let proxy = Proxy::in_front_of(&upstream, b"POST /api/booking/").await?;
    let shaky = beside(&hall, &format!("http://{}", proxy.address()))?;

    let hold: Hold = lose_then_repeat(
        &proxy,
        &shaky,
        &place_hold(ann.next_key(), hall.event_id, &Wanted::Best(2)),
    )
    .await?;
    let order: Order = lose_then_repeat(
        &proxy,
        &shaky,
        &place_order(ann.next_key(), hold.id, cards::FINE),
    )
    .await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    let _: Order =
        lose_then_repeat(&proxy, &shaky, &cancel_order(ann.next_key(), order.id)).await?;
    ensure!(proxy.lost() == 3);
    hall.every_promise_held().await?;
    let audit = hall.audit().await?;
    ensure!(
        audit.holds.len() == 1 && audit.orders.len() == 1,
        "something was done twice"
    );
    Ok(())
}

/// The same customer at another address.
fn beside(hall: &Hall, address: &str) -> anyhow::Result<Client> {
    let ann = &hall.customers[0];
    let mut client = Client::visitor(Door::at(address)?, hall.history.clone(), "beside");
    if let Some(session) = ann.session() {
        client = client.with_session(session.clone());
    }
    Ok(client.with_budget(RECOVERY))
}

async fn lose_then_repeat<T: serde::de::DeserializeOwned>(
    proxy: &Proxy,
    client: &Client,
    ask: &Ask,
) -> anyhow::Result<T> {
    proxy.arm(1);
    let before = proxy.lost();
    let mut lost = client.ask_once(ask, 0).await;
    // A service that was not quick enough answers 503, which the proxy hands on.
    for _ in 1..TRIES {
        if !matches!(&lost, Err(failure) if failure.status() == Some(503)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        lost = client.ask_once(ask, 0).await;
    }
    ensure!(
        matches!(lost, Err(Failure::NoAnswer(_))),
        "an answer came through: {lost:?}"
    );
    is_lost(proxy, before + 1).await?;
    let again = client.insist(ask).await?;
    ensure!(again.replayed, "the effect was made anew");
    Ok(again.read()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn a_commit_whose_answer_was_lost_is_found_by_the_clients_key_and_not_repeated()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let hall = stack.hall(20, 1).await?;
    let ann = &hall.customers[0];
    // One more booking, of the same image, that reaches Postgres through the proxy. The statement
    // is all of its text, unlike the words in the isolation level `READ COMMITTED`.
    // On the network that booking shares with HAProxy: this process is on its other one, too.
    let network = stack.project.network("database");
    let haproxy = stack.project.one("haproxy").await?;
    let haproxy = format!("{}:5432", haproxy.address_in(&network).await?);
    let proxy = Proxy::in_front_of(&haproxy, b"COMMIT\0").await?;
    let (host, port) = (
        proxy.address().ip().to_string(),
        proxy.address().port().to_string(),
    );
    let variables = [
        ("DATABASE_HOST", host.as_str()),
        ("DATABASE_PORT", port.as_str()),
    ];
    let booking = stack.project.one("booking").await?;
    let twin = stack.project.twin_of(&booking, &variables).await?;
    let done = through_the_twin(&hall, &twin, &proxy, ann).await;
    twin.remove().await?;
    done?;
    hall.every_promise_held().await?;
    let audit = hall.audit().await?;
    ensure!(
        audit.holds.len() == 1 && audit.orders.len() == 1,
        "something was done twice"
    );
    Ok(())
}

async fn through_the_twin(
    hall: &Hall,
    twin: &faults::Container,
    proxy: &Proxy,
    ann: &Client,
) -> anyhow::Result<()> {
    let address = eventually(Duration::from_secs(30), "the twin is ready", async || {
        let Some(address) = twin.state().await?.address else {
            return Ok(None);
        };
        let ready = hall
            .stack
            .door
            .http()
            .get(format!("http://{address}:9000/readyz"))
            .send()
            .await?;
        Ok(ready.status().is_success().then_some(address))
    })
    .await?;
    let replica = beside(hall, &format!("http://{address}:8080"))?;
    // What Nginx would say after its session check.
    let key = client::secret("nginx/booking_key")?;
    let signed = |ask: Ask| {
        ask.header(CALLER_KEY, key.as_str())
            .header("x-account-id", ann.account_id().to_string())
            .header("x-account-role", "customer")
    };
    let wanted = Wanted::Best(1);
    let ask = signed(place_hold(ann.next_key(), hall.event_id, &wanted));
    let hold: Hold = commit_then_repeat(proxy, &replica, &ask).await?;
    let ask = signed(place_order(ann.next_key(), hold.id, cards::FINE));
    let order: Order = commit_then_repeat(proxy, &replica, &ask).await?;
    hall.until(0, order.id, OrderState::Paid, Duration::from_secs(10))
        .await?;
    Ok(())
}

/// Waits until the proxy has lost so many answers: a client may time out before.
async fn is_lost(proxy: &Proxy, answers: u32) -> anyhow::Result<()> {
    let bound = Duration::from_secs(5);
    eventually(bound, "an answer was lost", async || {
        Ok((proxy.lost() == answers).then_some(()))
    })
    .await
}

/// The answer to COMMIT is lost: the client is told 503, and its repetition finds the effect.
async fn commit_then_repeat<T: serde::de::DeserializeOwned>(
    proxy: &Proxy,
    client: &Client,
    ask: &Ask,
) -> anyhow::Result<T> {
    proxy.arm(1);
    let before = proxy.lost();
    for _ in 0..TRIES {
        let lost = client.ask_once(ask, 0).await;
        let Err(Failure::Refused(answer)) = &lost else {
            anyhow::bail!("not refused: {lost:?}")
        };
        ensure!(
            answer.status == 503 && answer.retry_after.is_some(),
            "answered {answer:?}"
        );
        if !proxy.is_armed() {
            break;
        }
        // Postgres was not quick enough, and COMMIT was not sent.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    is_lost(proxy, before + 1).await?;
    let again = client.insist(ask).await?;
    ensure!(again.replayed, "the effect was made anew");
    Ok(again.read()?)
}
