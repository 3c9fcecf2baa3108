//! Promise 4 where no key is looked up, and none is unique: each request counts as the first with
//! its key.

use anyhow::ensure;
use client::booking::{Wanted, place_hold, place_order};
use client::{Ask, Client, Hold};
use crowd::visit::cards;

use crate::system::{System, signed};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: the driver leaves nothing to chance.
const WITHIN: usize = 1;

/// How often the same is asked for at the same moment.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_looking_keys_up_the_checker_of_keys_finds_a_second_effect() -> anyhow::Result<()> {
    let says = [
        "was answered in",
        "was acknowledged anew",
        "was taken for 2 requests",
        // The hold itself keeps an order from being made twice. Its customer is told so, who was
        // told before that it was made.
        "was refused after it had been acknowledged",
    ];
    caught_on_a_system(WITHIN, &says, "idempotency", cards::FINE, drive).await
}

/// What is asked for once more with the same key, also at the same moment, and with another body.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
    let client = system.customer()?;
    let hold = |key: &str, seats| {
        let wanted = Wanted::Best(seats);
        signed(
            &client,
            place_hold(key.to_owned(), system.event_id, &wanted),
        )
    };
    let key = client.next_key();
    let held: Hold = client.read(&hold(&key, 1)).await?;
    let mut repeated = usize::from(is_repeated(&client, &hold(&key, 1)).await);
    let other = client.insist(&hold(&key, 2)).await;
    let is_refused =
        other.is_err_and(|failure| failure.problem() == Some("idempotency-key-reused"));
    repeated += at_once(&client, &hold(&client.next_key(), 1)).await?;

    let order = signed(
        &client,
        place_order(client.next_key(), held.id, cards::FINE),
    );
    client.insist(&order).await?;
    repeated += usize::from(is_repeated(&client, &order).await);

    let audit = system.audit().await?;
    Ok(Seen {
        verdict: system.verdict(4).await?,
        guarded: guarded(
            repeated,
            is_refused,
            [audit.holds.len(), audit.orders.len()],
        ),
    })
}

/// One effect of each key, although it came again, and the other body was refused.
fn guarded(repeated: usize, is_refused: bool, effects: [usize; 2]) -> anyhow::Result<()> {
    ensure!(
        repeated == AT_ONCE + 1 && is_refused && effects == [2, 1],
        "{repeated} answers were repeated; another body was refused: {is_refused}; holds and \
         orders: {effects:?}"
    );
    Ok(())
}

/// Asks for it once more; whether that is answered with what was answered before.
async fn is_repeated(client: &Client, ask: &Ask) -> bool {
    let again = client.insist(ask).await;
    again.is_ok_and(|answer| answer.replayed)
}

/// Asks for it so often at the same moment; how often that is answered with the one answer.
async fn at_once(client: &Client, ask: &Ask) -> anyhow::Result<usize> {
    let asked = (0..AT_ONCE).map(|_| {
        let (client, ask) = (client.clone(), ask.clone());
        tokio::spawn(async move { is_repeated(&client, &ask).await })
    });
    let mut repeated = 0;
    for asked in asked.collect::<Vec<_>>() {
        repeated += usize::from(asked.await?);
    }
    Ok(repeated)
}
