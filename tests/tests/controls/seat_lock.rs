//! Promise 2 without the lock of a seat, the look at whose it is, and the unique tickets.

use anyhow::ensure;
use tests::checkers::Verdict;
use tests::client::booking::{Wanted, place_hold, place_order};
use tests::client::{Client, Failure, Hold, SeatName};
use tests::crowd::visit::cards;
use uuid::Uuid;

use crate::judge;
use crate::system::{System, signed};
use crate::workshop::{self, Programs};

/// Customers who want the same seats at once, again and again.
const CUSTOMERS: usize = 8;

/// How often they all ask, each time for two other seats.
const ROUNDS: i32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_the_seat_lock_the_checker_of_seats_finds_a_seat_that_was_sold_twice()
-> anyhow::Result<()> {
    let with_guards = drive(workshop::as_it_is().await?).await?;
    let without = drive(&workshop::patched("seat-lock", &["booking"]).await?).await?;
    ensure!(
        with_guards.orders.iter().all(|orders| *orders == 1),
        "with all guards one of them gets the seats each time, and not {:?}",
        with_guards.orders
    );
    // Found in what there is in the end, and in what customers were answered alone.
    judge(
        &with_guards.verdict,
        &without.verdict,
        &["owners", "at once"],
    )
}

/// What came of a run.
struct Seen {
    /// Of promise 2.
    verdict: Verdict,
    /// Orders that were accepted, by round.
    orders: Vec<usize>,
}

/// Customers who all hold and order the same seats at the same moment.
async fn drive(programs: &Programs) -> anyhow::Result<Seen> {
    let system = System::start(programs, cards::FINE).await?;
    let seen = happens_in(&system).await;
    system.end().await?;
    seen
}

async fn happens_in(system: &System) -> anyhow::Result<Seen> {
    let mut orders = Vec::new();
    for round in 0..ROUNDS {
        let name = |number| SeatName {
            section: "Stalls".to_owned(),
            row: "1".to_owned(),
            number,
        };
        let wanted = Wanted::Named(vec![name(round * 2 + 1), name(round * 2 + 2)]);
        let mut tasks = Vec::new();
        for _ in 0..CUSTOMERS {
            let (client, wanted) = (system.customer()?, wanted.clone());
            let event_id = system.event_id;
            tasks.push(tokio::spawn(async move {
                buy(&client, event_id, &wanted).await
            }));
        }
        let mut accepted = 0;
        for task in tasks {
            // Most are refused, and without guards some fail in other ways.
            accepted += usize::from(task.await?.is_ok());
        }
        orders.push(accepted);
    }
    Ok(Seen {
        verdict: system.verdict(2).await?,
        orders,
    })
}

async fn buy(client: &Client, event_id: Uuid, wanted: &Wanted) -> Result<(), Failure> {
    let ask = signed(client, place_hold(client.next_key(), event_id, wanted));
    let hold: Hold = client.read(&ask).await?;
    let ask = place_order(client.next_key(), hold.id, cards::FINE);
    client.insist(&signed(client, ask)).await?;
    Ok(())
}
