//! Promise 2 without the lock of a seat, the look at whose it is, and the unique tickets.

use anyhow::ensure;
use client::SeatName;
use client::booking::Wanted;
use crowd::visit::cards;

use crate::system::{System, buy};
use crate::{Seen, caught_on_a_system};

/// Within how many runs it is caught: two customers must look at a seat in the same moment.
const WITHIN: usize = 3;

/// Customers who want the same seats at once, again and again.
const CUSTOMERS: usize = 8;

/// How often they all ask, each time for two other seats.
const ROUNDS: i32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_the_seat_lock_the_checker_of_seats_finds_a_seat_that_was_sold_twice()
-> anyhow::Result<()> {
    // Found in what there is in the end, and in what customers were answered alone.
    let says = ["owners", "at once"];
    caught_on_a_system(WITHIN, &says, "seat-lock", cards::FINE, drive).await
}

/// Customers who all hold and order the same seats at the same moment.
async fn drive(system: &mut System) -> anyhow::Result<Seen> {
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
                buy(&client, event_id, &wanted, cards::FINE).await
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
        guarded: guarded(&orders),
    })
}

/// One of the customers gets the seats each time.
fn guarded(orders: &[usize]) -> anyhow::Result<()> {
    ensure!(
        orders.iter().all(|orders| *orders == 1),
        "orders that were accepted, by round: {orders:?}"
    );
    Ok(())
}
