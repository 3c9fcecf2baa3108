//! A flood of wrong passwords: it is limited far below what hashing can take, and locks no account. A
//! flood of right ones is tested beside the code (`services/identity/src/routes/sign_in.rs`), with the
//! rate of hashes that a client has by default: that of this stack is higher.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client::{Budget, Failure};
use faults::Container;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::deadline::{RECOVERY, generous};
use crate::guest::Guest;
use crate::stack::Stack;

/// How long the flood lasts, and how long it is from one of its guesses to the next.
const FLOOD: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_millis(5);

/// How long a sign-in may take, and be shed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);

/// Wrong passwords that are heard, as documented: of an address, and of an account there, at once and a
/// second.
const AT_ONCE: f64 = 40.0 + 10.0;
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

/// Who signs in while others guess.
struct Honest<'a> {
    /// Has an account that was made at the attacker's address, as neighbours behind one router have.
    neighbour: &'a Guest,
    /// Has the account that is guessed at, and is elsewhere.
    victim: &'a Guest,
    elsewhere: &'a Container,
}

impl Honest<'_> {
    /// Neither is limited.
    async fn sign_in(&self) -> anyhow::Result<()> {
        let neighbour = self.neighbour_signs_in().await;
        neighbour.context("the neighbour at the attacker's address")?;
        let victim = self.victim.sign_in_from(self.elsewhere).await;
        victim.context("the victim at another address")
    }

    /// What a busy machine does not answer is sent again, but never what is limited.
    async fn neighbour_signs_in(&self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let failure = match self.neighbour.sign_in(Budget::ONCE).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            let is_limited = failure.status() == Some(429);
            if is_limited || began.elapsed() > generous(ANSWERED_WITHIN) {
                return Err(failure);
            }
            println!("sent again: {failure}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Half of the guesses are at one account, half are at many, all from one address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn honest_sign_ins_succeed_during_a_flood_of_wrong_passwords_and_after_it()
-> anyhow::Result<()> {
    let stack = Stack::ready().await?;
    let victim = Guest::sign_up(&stack).await?;
    let neighbour = Guest::sign_up(&stack).await?;
    // A customer whose address is that of the container.
    let elsewhere = stack.project.one("nginx").await?;
    let honest = Honest {
        neighbour: &neighbour,
        victim: &victim,
        elsewhere: &elsewhere,
    };
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
    let sign_ins = async {
        let mut signed_in = 0;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < FLOOD {
            tick.tick().await;
            let done = honest.sign_in().await;
            done.with_context(|| format!("after {signed_in} rounds of honest sign-ins"))?;
            signed_in += 1;
        }
        println!("{signed_in} rounds of honest sign-ins during the flood");
        anyhow::Ok(())
    };
    tokio::try_join!(Box::pin(flood), Box::pin(sign_ins))?;
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
    honest.sign_in().await?;
    // At the attacker's own address the victim shares the attacker's allowance, and waits until it has
    // refilled: the client does as Retry-After says.
    victim.sign_in(RECOVERY).await?;
    Ok(())
}
