//! Sessions in Redis: a bearer token is worth what stands under its hash.
//!
//! Redis holds only SHA-256 of each token, so nobody who reads it can sign in. A session ends by
//! its time to live, by signing out, or when its account has begun [`MOST`] newer ones. What this
//! promises: every question is answered or given up within a bound, a question that could not be
//! asked lets nobody in, and an account has a bounded share of a memory that evicts nothing.
//! Signing in and out is answered after a replica has it too, so neither is undone by the loss of
//! the primary; where no replica confirms it the answer is 503, nobody knows whether it was done,
//! and both may be repeated. How a session is checked stands in [`check`].
//!
//! | key | value |
//! |---|---|
//! | `session:<hash of the token>` | account and role |
//! | `sessions:<account>` | list of the account's session keys, oldest first |

mod check;

use axum::http::{HeaderMap, header};
use chrono::{DateTime, TimeDelta, Utc};
use messages::account::Account;
use problem::Problem;
use redis::Pipeline;
use sentinel::{Primary, Readers, Watched};
use sha2::{Digest, Sha256};

#[cfg(test)]
pub(crate) use check::QUESTION_TIMEOUT;
pub(crate) use check::start_metrics;

/// How long a session lasts.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Most sessions of an account; one more ends the oldest.
pub(crate) const MOST: usize = 10;

/// Begins a session. All last equally long, so those whose time is over stand first in the list
/// and leave it first. A script is carried out as a whole: no two sign-ins meet in the middle.
const BEGIN: &str = "
local session, list = KEYS[1], KEYS[2]
local account, role, lifetime, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
redis.call('HSET', session, 'account_id', account, 'role', role)
redis.call('EXPIRE', session, lifetime)
redis.call('RPUSH', list, session)
redis.call('EXPIRE', list, lifetime)
while redis.call('LLEN', list) > most do
    redis.call('DEL', redis.call('LPOP', list))
end";

/// Ends a session, whose account only Redis knows.
const END: &str = "
local account = redis.call('HGET', KEYS[1], 'account_id')
if account then
    redis.call('LREM', 'sessions:' .. account, 1, KEYS[1])
    redis.call('DEL', KEYS[1])
end";

/// A bearer token: 32 random bytes, in hexadecimal.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(hex::encode(bytes))
    }

    /// The token of a request's `Authorization: Bearer`, if it has one of our form.
    ///
    /// # Errors
    /// 401 where it has none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, token)| {
                scheme.eq_ignore_ascii_case("bearer")
                    && token.len() == 64
                    && token
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
            .map(|(_, token)| Self(token.to_owned()))
            .ok_or_else(no_session)
    }

    /// The token itself, for its owner.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The key in Redis.
    fn key(&self) -> String {
        format!("session:{}", hex::encode(Sha256::digest(&self.0)))
    }
}

/// 401: there is no session, or it is over.
pub(crate) fn no_session() -> Problem {
    Problem::unauthorized(
        "there is no such session: sign in and send Authorization: Bearer <token>",
    )
}

/// Where sessions are kept.
#[derive(Clone)]
pub(crate) struct Sessions {
    primary: Primary,
    readers: Readers,
}

impl Sessions {
    /// Begins to look for the nodes, in the background.
    pub(crate) fn open(watched: &Watched<'_>) -> Self {
        let primary = Primary::open(watched);
        let readers = Readers::beside(&primary);
        Self { primary, readers }
    }

    /// The primary of the Redis where they are kept.
    pub(crate) fn primary(&self) -> &Primary {
        &self.primary
    }

    /// Whether sessions can be checked, be it without a primary.
    pub(crate) async fn answer(&self) -> Result<(), Problem> {
        if self.primary.is_there() {
            return Ok(());
        }
        let ping = redis::pipe().cmd("PING").to_owned();
        let answers = self.readers.ask::<(String,)>(&ping, check::FEWEST).await;
        answers.map(drop).ok_or_else(away)
    }

    /// Begins a session; the account's oldest one ends where it has more than [`MOST`].
    pub(crate) async fn begin(&self, account: Account) -> Result<(Token, DateTime<Utc>), Problem> {
        let token = Token::random();
        let expires_at = Utc::now() + LIFETIME;
        let mut begin = redis::pipe();
        begin
            .cmd("EVAL")
            .arg(BEGIN)
            .arg(2)
            .arg(token.key())
            .arg(format!("sessions:{}", account.id))
            .arg(account.id.to_string())
            .arg(account.role.as_str())
            .arg(LIFETIME.num_seconds())
            .arg(MOST);
        self.confirm(begin).await?;
        Ok((token, expires_at))
    }

    /// Ends a session; one that is over already stays over.
    pub(crate) async fn end(&self, token: &Token) -> Result<(), Problem> {
        let mut end = redis::pipe();
        end.cmd("EVAL").arg(END).arg(1).arg(token.key());
        self.confirm(end).await
    }

    async fn confirm(&self, write: Pipeline) -> Result<(), Problem> {
        let confirmed = self.primary.confirm(write).await;
        confirmed.map_err(|error| away().cause(error))
    }

    /// Waits until there is a primary.
    #[cfg(test)]
    pub(crate) async fn ready(&self) -> bool {
        self.primary.ready(std::time::Duration::from_secs(5)).await
    }

    /// Seconds that a session has left.
    #[cfg(test)]
    pub(crate) async fn time_left(&self, token: &Token) -> i64 {
        let ask = redis::pipe().cmd("TTL").arg(token.key()).to_owned();
        self.primary.ask::<(i64,)>(&ask).await.unwrap().0
    }
}

/// 503: nobody knows for now.
pub(crate) fn away() -> Problem {
    Problem::unavailable("the session store")
}
