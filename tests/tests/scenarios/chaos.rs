//! `make chaos`, one round of the rows that no other scenario plays: what it is told to make, it
//! makes, and every bound and promise holds.

use anyhow::ensure;
use tests::chaos::{Filter, Schedule, Stage, play};

/// Parts that are slow, frozen or cut off.
const FAULTS: &str = "cut:redis-primary pause:haproxy slow:booking";

#[tokio::test]
#[ignore = "needs the test stack: make test"]
async fn parts_that_hang_are_cut_off_or_are_slow_break_no_promise_and_no_bound()
-> anyhow::Result<()> {
    let stage = Stage::from_environment().await?;
    let schedule = Schedule::drawn(1, &Filter::parse(FAULTS)?, stage.pace).in_turn();
    for number in 0..u32::try_from(schedule.rows())? {
        let step = schedule.step(number);
        let finding = play(&stage, &step, schedule.seed, FAULTS).await?;
        println!("{finding}");
        ensure!(finding.is_good(), "{finding}");
    }
    Ok(())
}
