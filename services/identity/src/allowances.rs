//! Allowances: how many password hashes a client costs, and how many wrong passwords are heard.
//!
//! Before a password is hashed, one script in Redis takes from each allowance that applies, or, where
//! one is used up, from none. Then the request is refused with 429 and `Retry-After`, be its password
//! right or wrong: only the hash could tell. A sign-in that succeeds gives back what it took from the
//! allowances of wrong passwords. So requests that come at once are limited like those that come one
//! after the other, and more replicas allow no more.
//!
//! | allowance of | for | at once | then one in |
//! |---|---|---|---|
//! | an address | hashes, of sign-ins and sign-ups | 4 s of its rate | the setting `PASSWORD_HASHES_PER_SECOND` |
//! | an account at an address | wrong passwords | 10 | 6 s |
//! | an address | wrong passwords for accounts that are not known there | 40 | 0.5 s |
//!
//! An account is known at an address where it was made, or where a sign-in to it succeeded in the last
//! 30 days. So wrong passwords for other accounts do not limit an account at its usual address, also
//! where that is the attacker's too, as behind one router.
//!
//! An allowance is kept as the time at which it will be full again (the generic cell rate algorithm),
//! so it is one number: a member of a sorted set. The set forgets members that are full, and beyond
//! [`MOST_TAKEN`] those that are next to be.
//!
//! What this does not promise:
//! - Whoever shares an address with an attacker shares its allowances: that of hashes, and that of an
//!   account where the attacker guesses at that account from there.
//! - No limit counts the wrong passwords for an account from all addresses: it would let others lock
//!   the account. Many addresses together guess as often as each of them may.
//! - Without Redis no password is hashed: 503. The session could not be kept either. No replica
//!   confirms what was taken, so a failover may forget the last of it.

use std::time::Duration;

use axum::http::StatusCode;
use problem::Problem;
use sentinel::Primary;
use sha2::{Digest, Sha256};

use crate::client_address::ClientAddress;
use crate::sessions::away;

/// How many units are had at once, and after how long there is one more.
#[derive(Clone, Copy)]
struct Allowance {
    at_once: u32,
    every: Duration,
}

const FAILURES_OF_ACCOUNT: Allowance = Allowance {
    at_once: 10,
    every: Duration::from_secs(6),
};
const FAILURES_OF_ADDRESS: Allowance = Allowance {
    at_once: 40,
    every: Duration::from_millis(500),
};

/// Of how many seconds an address may have its hashes at once.
const BURST: u32 = 4;

/// Most allowances that are kept: of a few megabytes.
const MOST_TAKEN: u32 = 20_000;
/// Longer than any allowance needs to be full again.
const TAKEN_SECONDS: u32 = 300;

/// Most addresses of accounts that are kept, and for how long: those beyond that are the ones that
/// were used the longest ago.
const MOST_KNOWN: u32 = 20_000;
const KNOWN_SECONDS: u32 = 30 * 24 * 60 * 60;

/// The keys in Redis.
const TAKEN: &str = "allowances:taken";
const KNOWN: &str = "allowances:known";

/// Takes from all allowances or from none, and returns how many seconds to wait and for which of them.
/// Of each it gets a name, what is taken, and what there is at most, both in microseconds of refilling.
/// The second is that of an account at an address; where the account is known, the third is left out.
const TAKE: &str = "
local taken, known = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, longest, which = {}, 0, 0
for number = 1, (#ARGV - 2) / 3 do
    local name, cost, most = ARGV[3 * number], ARGV[3 * number + 1], ARGV[3 * number + 2]
    if number < 3 or not redis.call('ZSCORE', known, ARGV[6]) then
        full[name] = math.max(now, tonumber(redis.call('ZSCORE', taken, name) or now)) + cost
        local wait = full[name] - now - most
        if wait > longest then longest, which = wait, number end
    end
end
if longest > 0 then return {math.ceil(longest / 1000000), which} end
for name, at in pairs(full) do redis.call('ZADD', taken, at, name) end
redis.call('ZREMRANGEBYSCORE', taken, '-inf', now)
local over = redis.call('ZCARD', taken) - ARGV[1]
if over > 0 then redis.call('ZPOPMIN', taken, over) end
redis.call('EXPIRE', taken, ARGV[2])
return {0, 0}";

/// Makes an account known at an address, and its allowance there full. Gives back to the allowance of
/// the address only where [`TAKE`] took from it: whoever signs in to an account of their own gets no
/// further guesses at others.
const KNOW: &str = "
local taken, known = KEYS[1], KEYS[2]
local here, address, cost = ARGV[1], ARGV[2], ARGV[3]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREM', taken, here)
if not redis.call('ZSCORE', known, here) and redis.call('ZSCORE', taken, address) then
    redis.call('ZINCRBY', taken, -cost, address)
end
redis.call('ZADD', known, now, here)
redis.call('ZREMRANGEBYSCORE', known, '-inf', now - ARGV[4])
local over = redis.call('ZCARD', known) - ARGV[5]
if over > 0 then redis.call('ZPOPMIN', known, over) end";

/// Which allowance of [`TAKE`] is that of hashes.
const HASHES: u32 = 1;

/// An account at an address.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: ClientAddress,
    here: String,
}

impl Place {
    /// Of the account with this e-mail address, whether there is one or not. Its name is a hash, to be
    /// short however long the address is.
    pub(crate) fn of(email: &str, address: ClientAddress) -> Self {
        let email = email.to_ascii_lowercase();
        let digest = hex::encode(Sha256::digest(format!("{email} {address}")));
        let here = format!("account {}", &digest[..32]);
        Self { address, here }
    }
}

/// Takes from allowances, and gives back.
#[derive(Clone)]
pub(crate) struct Allowances {
    primary: Primary,
    hashes: Allowance,
}

impl Allowances {
    /// In the Redis whose primary this is. An address may cost `per_second` hashes, at least one.
    pub(crate) fn at(primary: Primary, per_second: u32) -> Self {
        let hashes = Allowance {
            at_once: per_second.saturating_mul(BURST),
            every: Duration::from_secs(1) / per_second,
        };
        Self { primary, hashes }
    }

    /// Takes a hash of an address.
    ///
    /// # Errors
    /// 429 where the allowance is used up, 503 where Redis does not answer.
    pub(crate) async fn take_hash(&self, address: ClientAddress) -> Result<(), Problem> {
        let hashes = hashes(address);
        self.take(&[(hashes.as_str(), self.hashes, 1)]).await
    }

    /// Takes what an attempt to sign in costs that hashes so many times.
    ///
    /// # Errors
    /// 429 where an allowance is used up, 503 where Redis does not answer.
    pub(crate) async fn take_sign_in(&self, place: &Place, times: usize) -> Result<(), Problem> {
        let times = u32::try_from(times).map_err(Problem::internal)?;
        let (hashes, failures) = (hashes(place.address), failures(place.address));
        self.take(&[
            (hashes.as_str(), self.hashes, times),
            (place.here.as_str(), FAILURES_OF_ACCOUNT, 1),
            (failures.as_str(), FAILURES_OF_ADDRESS, 1),
        ])
        .await
    }

    async fn take(&self, each: &[(&str, Allowance, u32)]) -> Result<(), Problem> {
        let mut take = redis::pipe();
        take.cmd("EVAL")
            .arg(TAKE)
            .arg(2)
            .arg(TAKEN)
            .arg(KNOWN)
            .arg(MOST_TAKEN)
            .arg(TAKEN_SECONDS);
        for (name, allowance, units) in each {
            take.arg(*name)
                .arg(microseconds(allowance.every * *units))
                .arg(microseconds(allowance.every * allowance.at_once));
        }
        let taken = self.primary.ask::<((u32, u32),)>(&take).await;
        let ((wait, which),) = taken.map_err(|error| away().cause(error))?;
        match (wait, which) {
            (0, _) => Ok(()),
            (_, HASHES) => Err(too_many_requests().retry_after(wait)),
            _ => Err(too_many_failures().retry_after(wait)),
        }
    }

    /// An attempt to sign in succeeded: gives back what it took, but for its hash.
    pub(crate) async fn signed_in(&self, place: &Place) {
        self.know(place, FAILURES_OF_ADDRESS.every).await;
    }

    /// The account was made here.
    pub(crate) async fn signed_up(&self, place: &Place) {
        self.know(place, Duration::ZERO).await;
    }

    /// Where Redis does not answer, the account stays unknown and nothing is given back: allowances
    /// refill.
    async fn know(&self, place: &Place, given_back: Duration) {
        let mut know = redis::pipe();
        know.cmd("EVAL")
            .arg(KNOW)
            .arg(2)
            .arg(TAKEN)
            .arg(KNOWN)
            .arg(&place.here)
            .arg(failures(place.address))
            .arg(microseconds(given_back))
            .arg(KNOWN_SECONDS)
            .arg(MOST_KNOWN);
        if let Err(error) = self.primary.ask::<()>(&know).await {
            tracing::debug!(%error, "an account stays unknown at an address");
        }
    }
}

fn hashes(address: ClientAddress) -> String {
    format!("hashes {address}")
}

fn failures(address: ClientAddress) -> String {
    format!("failures {address}")
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn too_many_requests() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "Too many requests",
        "too many sign-ins and sign-ups came from this address; try again later",
    )
}

fn too_many_failures() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-failures",
        "Too many sign-ins failed",
        "sign-ins to this account or from this address failed too often; try again later",
    )
}
