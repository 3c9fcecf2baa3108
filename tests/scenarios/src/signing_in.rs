//! A flood of wrong passwords: it is limited far below what hashing can take, and keeps nobody out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::{Budget, Failure};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::deadline::{A_MOMENT, RECOVERY};
use crate::guest::Guest;
use crate::stack::Stack;

/// How long the flood lasts, and how long it is from one of its guesses to the next.
const FLOOD: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_millis(5);

/// Failures that are heard, as documented: of an address, and of an account there, at once and a
/// second; and one more of each replica, which may be judged while another is.
const AT_ONCE: f64 = 40.0 + 10.0 + 4.0;
const A_SECOND: f64 = 2.0 + 1.0 / 6.0;

/// What became of a guess.
fn outcome(guess: Result<(), Failure>) -> anyhow::Result<&'static str> {
    let answer = match guess {
        Ok(()) => bail!("a wrong password was let in"),
        Err(Failure::Refused(answer)) => answer,
        // On a busy machine.
        Err(_) => return Ok("not answered"),
    };
    Ok(match (answer.status, answer.problem()) {
        (401, Some("wrong-credentials")) => "heard",
        (429, Some("too-many-failures")) => {
            ensure!(answer.retry_after.is_some(), "without Retry-After");
            "limited"
        }
        // Of Nginx, where many guesses come together.
        (429, Some("too-many-requests")) => "too many requests",
        (503, _) => "shed",
        other => bail!("a wrong password was answered with {other:?}"),
    })
}

/// All of it comes from one address, the honest sign-ins included: they are those of neighbours
/// behind one router. Half of the guesses are at one account, half are at many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn an_honest_sign_in_each_second_succeeds_during_a_flood_of_wrong_passwords()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let victim = Guest::sign_up(&stack).await?;
    let neighbour = Guest::sign_up(&stack).await?;
    let visitor = stack.visitor().with_budget(Budget::ONCE);
    let began = Instant::now();
    let mut guesses = JoinSet::new();
    let flood = async {
        let mut tick = tokio::time::interval(EVERY);
        for number in 0_u32.. {
            tick.tick().await;
            if began.elapsed() > FLOOD {
                break;
            }
            let visitor = visitor.clone();
            let email = if number.is_multiple_of(2) {
                victim.email().to_owned()
            } else {
                format!("nobody-{}@crowd.example", Uuid::now_v7())
            };
            guesses.spawn(async move {
                let guess = visitor.sign_in(&email, "a wrong password").await;
                outcome(guess.map(drop))
            });
        }
        anyhow::Ok(())
    };
    let honest = async {
        let mut signed_in = 0;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < FLOOD {
            tick.tick().await;
            neighbour
                .sign_in(A_MOMENT)
                .await
                .with_context(|| format!("after {signed_in} honest sign-ins"))?;
            signed_in += 1;
        }
        println!("{signed_in} honest sign-ins during the flood");
        ensure!(signed_in > 0, "none was tried");
        anyhow::Ok(())
    };
    tokio::try_join!(Box::pin(flood), Box::pin(honest))?;
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    while let Some(guess) = guesses.join_next().await {
        *outcomes.entry(guess??).or_default() += 1;
    }
    let took = began.elapsed();
    println!("in {took:?}: {outcomes:?}");
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    let most = AT_ONCE + A_SECOND * took.as_secs_f64();
    ensure!(
        f64::from(count("heard")) <= most,
        "{outcomes:?}, and at most {most} may be heard"
    );
    ensure!(count("limited") > 0, "{outcomes:?}");
    // The account that was guessed at is not locked: even from the attacker's own address its owner
    // signs in as soon as an allowance has refilled, which the client waits for.
    victim.sign_in(RECOVERY).await?;
    Ok(())
}
