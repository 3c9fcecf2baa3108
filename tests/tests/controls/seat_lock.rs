//! Promise 2 without the lock of a seat, the look at whose it is, and the unique tickets.

use tests::checkers::{Ending, Violation, seats};
use tests::client::booking::{Wanted, place_hold, place_order};
use tests::client::{Hold, SeatName};
use tests::crowd::visit::cards;

use crate::judge;
use crate::system::{Scratch, System, signed};
use crate::workshop::{self, Programs};

/// Customers who want the same seats at once, again and again.
const CUSTOMERS: usize = 8;

/// How often they all ask.
const ROUNDS: i32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the toolbox and the test stack: make test"]
async fn without_the_seat_lock_the_checker_of_seats_finds_a_seat_that_was_sold_twice()
-> anyhow::Result<()> {
    let build = Scratch::new().await?;
    build.migrate(&workshop::apply("seat-lock")?).await?;
    let patched = workshop::patched("seat-lock", &build.url())?;
    build.remove().await?;
    let with_guards = drive(&workshop::as_it_is()?).await?;
    let without = drive(&patched).await?;
    judge(&with_guards, &without, "owners")
}

/// Customers who all hold and order the same seats at the same moment.
async fn drive(programs: &Programs) -> anyhow::Result<Vec<Violation>> {
    let system = System::start(programs, cards::FINE).await?;
    let found = happens_in(&system).await;
    system.end().await?;
    found
}

async fn happens_in(system: &System) -> anyhow::Result<Vec<Violation>> {
    for round in 0..ROUNDS {
        let name = |number| SeatName {
            section: "Stalls".to_owned(),
            row: "1".to_owned(),
            number,
        };
        let wanted = Wanted::Named(vec![name(round * 2 + 1), name(round * 2 + 2)]);
        let mut tasks = Vec::new();
        for _ in 0..CUSTOMERS {
            let (client, wanted, event_id) = (system.customer()?, wanted.clone(), system.event_id);
            tasks.push(tokio::spawn(async move {
                let ask = signed(&client, place_hold(client.next_key(), event_id, &wanted));
                let hold: Hold = client.read(&ask).await?;
                let ask = signed(
                    &client,
                    place_order(client.next_key(), hold.id, cards::FINE),
                );
                client.insist(&ask).await
            }));
        }
        for task in tasks {
            // Most are refused, and without guards some fail in other ways.
            let _ = task.await?;
        }
    }
    let ending = Ending {
        audit: Some(system.audit().await?),
        ..Ending::default()
    };
    Ok(seats::check(&[], &ending))
}
