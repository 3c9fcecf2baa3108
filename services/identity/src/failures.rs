//! Limits on failed sign-ins: guessing is slow, and a flood of guesses keeps nobody else out.
//!
//! A failed sign-in uses up allowances, which refill with time. While one of them is used up, a
//! sign-in is refused with 429 and `Retry-After` before its password is hashed, be it right or wrong:
//! only the hash could tell. A sign-in that succeeds uses up nothing.
//!
//! | allowance of | failures at once | then one in | limits a sign-in |
//! |---|---|---|---|
//! | an account at an address | 10 | 6 s | always |
//! | an address | 40 | 0.5 s | to an account that is not known there |
//! | an account | 20 | 5 s | to an account that is not known there, and has failed there lately |
//!
//! An account is known at an address where it was made, or where a sign-in to it succeeded in the last
//! 30 days. So failures of others do not limit its owner at the owner's usual address, also where that
//! is the attacker's too, as behind one router. At a new address the owner's first attempt is heard
//! whatever others do elsewhere. Allowances are never longer than a minute or two, so nothing locks an
//! account.
//!
//! An allowance is kept as the moment at which it will be full again (the generic cell rate
//! algorithm), so it is one number: a member of a sorted set in Redis, which ends by itself. The set
//! forgets members that are full, and beyond [`MOST_FAILURES`] those that are next to be.
//!
//! What this leaves to others, and what it does not promise:
//! - Attempts of one client are judged and hashed one at a time ([`crate::passwords`]), or as many as
//!   arrive at once would all be judged before the first of them fails.
//! - Without Redis there is no sign-in: 503, before a hash is computed. The session would have to be
//!   kept there too. Failures are not waited for on a replica, so a failover may forget the last ones.
//! - An attacker at the owner's own address who guesses at the owner's account uses up what both
//!   share. Their attempts cannot be told apart.

use axum::http::StatusCode;
use problem::Problem;
use sentinel::Primary;
use sha2::{Digest, Sha256};

use crate::client_address::ClientAddress;
use crate::sessions::away;

/// How many failures are had at once, and after how many milliseconds there is one more.
struct Allowance {
    at_once: u32,
    every: u32,
}

const ACCOUNT_AT_ADDRESS: Allowance = Allowance {
    at_once: 10,
    every: 6_000,
};
const ADDRESS: Allowance = Allowance {
    at_once: 40,
    every: 500,
};
const ACCOUNT: Allowance = Allowance {
    at_once: 20,
    every: 5_000,
};

/// Most allowances that are kept: of a few megabytes.
const MOST_FAILURES: u32 = 20_000;
/// Longer than any allowance needs to be full again.
const FAILURES_KEPT_SECONDS: u32 = 300;

/// Most addresses of accounts that are kept, and for how long: those beyond that are the ones that
/// were used the longest ago.
const MOST_KNOWN: u32 = 20_000;
const KNOWN_SECONDS: u32 = 30 * 24 * 60 * 60;

/// The keys in Redis.
const FAILURES: &str = "sign-ins:failures";
const KNOWN: &str = "sign-ins:known";

/// Says for how many seconds a sign-in has to wait, and whether the account is known at the address.
/// Of each allowance it gets a name, the failures at once, and the milliseconds between two.
const JUDGE: &str = "
local failures, known = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function wait(at)
    local full = tonumber(redis.call('ZSCORE', failures, ARGV[at]) or now)
    return full - now - (ARGV[at + 1] - 1) * ARGV[at + 2]
end
local here, address, account = 1, 4, 7
local longest, is_known = wait(here), 1
if not redis.call('ZSCORE', known, ARGV[here]) then
    is_known = 0
    longest = math.max(longest, wait(address))
    if redis.call('ZSCORE', failures, ARGV[here]) then
        longest = math.max(longest, wait(account))
    end
end
return {math.max(0, math.ceil(longest / 1000)), is_known}";

/// Counts a failure in each allowance, none of which is ever more than used up.
const COUNT: &str = "
local failures = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 1, 7, 3 do
    local at_once, every = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local full = math.max(tonumber(redis.call('ZSCORE', failures, ARGV[at]) or now), now)
    redis.call('ZADD', failures, math.min(full, now + (at_once - 1) * every) + every, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', failures, '-inf', now)
local over = redis.call('ZCARD', failures) - ARGV[10]
if over > 0 then redis.call('ZPOPMIN', failures, over) end
redis.call('EXPIRE', failures, ARGV[11])";

/// Makes an account known at an address, and its allowance there full.
const KNOW: &str = "
local failures, known = KEYS[1], KEYS[2]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREM', failures, ARGV[1])
redis.call('ZADD', known, now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', known, '-inf', now - ARGV[2])
local over = redis.call('ZCARD', known) - ARGV[3]
if over > 0 then redis.call('ZPOPMIN', known, over) end";

/// An attempt to sign in: to which account, from where. Names are hashed to be short and of one
/// length, however long an address is.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    here: String,
    address: String,
    account: String,
}

impl Attempt {
    /// To the account with this e-mail address, whether there is one or not.
    pub(crate) fn new(email: &str, from: ClientAddress) -> Self {
        let email = email.to_ascii_lowercase();
        Self {
            here: name("here", &format!("{email} {from}")),
            address: name("address", &from.to_string()),
            account: name("account", &email),
        }
    }
}

fn name(kind: &str, of: &str) -> String {
    let digest = hex::encode(Sha256::digest(of));
    format!("{kind}:{}", &digest[..32])
}

/// Counts failures, and judges attempts by them.
#[derive(Clone)]
pub(crate) struct Failures {
    primary: Primary,
}

impl Failures {
    /// In the Redis whose primary this is.
    pub(crate) fn at(primary: Primary) -> Self {
        Self { primary }
    }

    /// Lets an attempt pass; tells whose turn to hash it takes: its account's where that is known at
    /// the address, else its address's.
    ///
    /// # Errors
    /// 429 where an allowance is used up, 503 where Redis does not answer.
    pub(crate) async fn judge<'a>(&self, attempt: &'a Attempt) -> Result<&'a str, Problem> {
        let mut judge = redis::pipe();
        judge
            .cmd("EVAL")
            .arg(JUDGE)
            .arg(2)
            .arg(FAILURES)
            .arg(KNOWN);
        allowances(&mut judge, attempt);
        let ((wait, is_known),) = self
            .primary
            .ask::<((u32, u32),)>(&judge)
            .await
            .map_err(|error| away().cause(error))?;
        match (wait, is_known) {
            (0, 0) => Ok(attempt.address.as_str()),
            (0, _) => Ok(attempt.account.as_str()),
            _ => Err(too_many(wait)),
        }
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// 503 where Redis does not answer: then nobody learns whether the password was wrong, or guesses
    /// would be free for as long as Redis is slow.
    pub(crate) async fn count(&self, attempt: &Attempt) -> Result<(), Problem> {
        let mut count = redis::pipe();
        count.cmd("EVAL").arg(COUNT).arg(1).arg(FAILURES);
        allowances(&mut count, attempt);
        count.arg(MOST_FAILURES).arg(FAILURES_KEPT_SECONDS);
        let counted = self.primary.ask::<()>(&count).await;
        counted.map_err(|error| away().cause(error))
    }

    /// Makes an account known at an address, where it was made or signed in to. Where Redis does not
    /// answer it stays unknown, which costs its owner no more than the allowances of others.
    pub(crate) async fn know(&self, attempt: &Attempt) {
        let mut know = redis::pipe();
        know.cmd("EVAL")
            .arg(KNOW)
            .arg(2)
            .arg(FAILURES)
            .arg(KNOWN)
            .arg(&attempt.here)
            .arg(KNOWN_SECONDS)
            .arg(MOST_KNOWN);
        if let Err(error) = self.primary.ask::<()>(&know).await {
            tracing::debug!(%error, "an account stays unknown at an address");
        }
    }
}

/// The arguments that the scripts have in common, of the last command.
fn allowances(pipeline: &mut redis::Pipeline, attempt: &Attempt) {
    for (name, allowance) in [
        (&attempt.here, ACCOUNT_AT_ADDRESS),
        (&attempt.address, ADDRESS),
        (&attempt.account, ACCOUNT),
    ] {
        pipeline
            .arg(name)
            .arg(allowance.at_once)
            .arg(allowance.every);
    }
}

fn too_many(wait: u32) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-failures",
        "Too many sign-ins failed",
        "sign-ins to this account or from this address failed too often; try again later",
    )
    .retry_after(wait)
}
