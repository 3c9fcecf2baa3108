//! Sessions in Redis: a bearer token is worth what stands under its hash.
//!
//! Redis holds only SHA-256 of each token, so nobody who reads it can sign in. A session ends a day
//! after it began, when it was not used for an hour, by signing out, or when its account has begun
//! [`MOST`] newer ones. What this promises: every question is answered or given up within a bound, and
//! a question that could not be asked lets nobody in. Signing in and out is answered after a replica
//! has it too, so neither is undone by the loss of the primary; where no replica confirms it the answer
//! is 503, nobody knows whether it was done, and both may be repeated. How a session is checked stands
//! in [`check`], how one ended in [`ending`].
//!
//! Redis evicts nothing, so its memory has to have room for all of them: there are `most_sessions` at
//! once. When there are as many, those that go on go on, and a sign-in is refused with 503 unless it
//! ends a session of its own account. Accounts are free, so accounts of less than a day have no more
//! than two thirds of the room: whoever makes many of them keeps out none that was there before. A
//! session that is not used ends after 90 minutes, so what was filled for nothing is soon empty again.
//!
//! | key | value |
//! |---|---|
//! | `session:<hash of the token>` | account, role, and when it ends at the latest |
//! | `sessions:<account>` | list of the account's session keys, oldest first |
//! | `sessions:live` | sorted set of all session keys, by when they end unless they are used |
//! | `sessions:ended` | sorted set of the session keys that were ended, and by what |

pub(crate) mod census;
mod check;
mod ending;

use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use messages::account::Account;
use problem::Problem;
use redis::{Pipeline, Value};
use sentinel::{Primary, Readers, Watched};
use sha2::{Digest, Sha256};

#[cfg(test)]
pub(crate) use check::QUESTION_TIMEOUT;
pub(crate) use check::start_metrics;

/// How long a session lasts at most.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// How long a session lasts that is not used. A use prolongs it to the most when less than the least is
/// left, and not each time: a prolongation is a write.
pub(crate) const IDLE_AT_LEAST: TimeDelta = TimeDelta::minutes(60);
pub(crate) const IDLE_AT_MOST: TimeDelta = TimeDelta::minutes(90);

/// Most sessions of an account; one more ends the oldest.
pub(crate) const MOST: usize = 10;

/// Keys of Redis.
const LIVE: &str = "sessions:live";
const ENDED: &str = "sessions:ended";

/// Begins a session, or returns 0 where there is no room for it. A script is carried out as a whole:
/// no two sign-ins meet in the middle. What a full memory refuses comes first, so that nothing is left
/// half done.
const BEGIN: &str = "
local session, list, live, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account, role = ARGV[1], ARGV[2]
local lifetime, idle, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local room, kept = tonumber(ARGV[6]), tonumber(ARGV[7])
local now = tonumber(redis.call('TIME')[1])
local going, over = 0, {}
for _, one in ipairs(redis.call('LRANGE', list, 0, -1)) do
    if redis.call('EXISTS', one) == 1 then going = going + 1 else table.insert(over, one) end
end
if going < most and redis.call('ZCOUNT', live, now, '+inf') >= room then return 0 end
redis.call('HSET', session, 'account_id', account, 'role', role, 'ends', now + lifetime)
redis.call('EXPIRE', session, idle)
redis.call('ZADD', live, now + idle, session)
redis.call('ZREMRANGEBYSCORE', live, '-inf', now - 1)
for _, one in ipairs(over) do redis.call('LREM', list, 1, one) end
redis.call('RPUSH', list, session)
redis.call('EXPIRE', list, lifetime)
while redis.call('LLEN', list) > most do
    local oldest = redis.call('LPOP', list)
    redis.call('DEL', oldest)
    redis.call('ZREM', live, oldest)
    redis.call('ZADD', ended, now, 'newer-sign-in ' .. oldest)
end
redis.call('ZREMRANGEBYSCORE', ended, '-inf', now - lifetime)
local many = redis.call('ZCARD', ended) - kept
if many > 0 then redis.call('ZPOPMIN', ended, many) end
return 1";

/// Ends a session, whose account only Redis knows. What a full memory refuses comes last.
const END: &str = "
local session, live, ended = KEYS[1], KEYS[2], KEYS[3]
local account = redis.call('HGET', session, 'account_id')
if account then
    redis.call('LREM', 'sessions:' .. account, 1, session)
    redis.call('DEL', session)
    redis.call('ZREM', live, session)
    redis.call('ZADD', ended, redis.call('TIME')[1], 'sign-out ' .. session)
end";

/// Prolongs a session that is used. One that was begun before sessions ended for want of use has no
/// `ends`, and lasts as it is.
const PROLONG: &str = "
local session, live, idle = KEYS[1], KEYS[2], tonumber(ARGV[1])
local ends = tonumber(redis.call('HGET', session, 'ends'))
local now = tonumber(redis.call('TIME')[1])
if ends and ends > now then
    local left = math.min(idle, ends - now)
    redis.call('EXPIRE', session, left)
    redis.call('ZADD', live, 'XX', now + left, session)
end";

/// How long an account has been there, as far as that matters to a full store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Less than a day.
    New,
    /// A day or more.
    Settled,
}

impl Age {
    /// How many sessions there may be when such an account begins another, of `most` in all.
    fn room(self, most: u32) -> u32 {
        match self {
            Self::New => most - most / 3,
            Self::Settled => most,
        }
    }
}

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
    most: u32,
}

impl Sessions {
    /// Begins to look for the nodes, in the background. They have room for `most` sessions.
    pub(crate) fn open(watched: &Watched<'_>, most: u32) -> Self {
        let primary = Primary::open(watched);
        let readers = Readers::beside(&primary);
        Self {
            primary,
            readers,
            most,
        }
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
    ///
    /// # Errors
    /// 503 where there is no room for it, or it was not confirmed.
    pub(crate) async fn begin(
        &self,
        account: Account,
        age: Age,
    ) -> Result<(Token, DateTime<Utc>), Problem> {
        let token = Token::random();
        let expires_at = Utc::now() + LIFETIME;
        let mut begin = redis::pipe();
        begin
            .cmd("EVAL")
            .arg(BEGIN)
            .arg(4)
            .arg(token.key())
            .arg(format!("sessions:{}", account.id))
            .arg(LIVE)
            .arg(ENDED)
            .arg(account.id.to_string())
            .arg(account.role.as_str())
            .arg(LIFETIME.num_seconds())
            .arg(IDLE_AT_MOST.num_seconds())
            .arg(MOST)
            .arg(age.room(self.most))
            .arg(ending::MOST_KEPT);
        match self.confirm(begin).await?.first() {
            Some(Value::Int(1)) => Ok((token, expires_at)),
            _ => Err(full()),
        }
    }

    /// Ends a session; one that is over already stays over.
    pub(crate) async fn end(&self, token: &Token) -> Result<(), Problem> {
        let mut end = redis::pipe();
        end.cmd("EVAL")
            .arg(END)
            .arg(3)
            .arg(token.key())
            .arg(LIVE)
            .arg(ENDED);
        self.confirm(end).await.map(drop)
    }

    async fn confirm(&self, write: Pipeline) -> Result<Vec<Value>, Problem> {
        let confirmed = self.primary.confirm(write).await;
        confirmed.map_err(|error| away().cause(error))
    }

    /// Prolongs a session in the background: whoever uses it does not wait for that. Where it fails,
    /// a later use prolongs it.
    fn prolong(&self, token: &Token) {
        let mut prolong = redis::pipe();
        prolong
            .cmd("EVAL")
            .arg(PROLONG)
            .arg(2)
            .arg(token.key())
            .arg(LIVE)
            .arg(IDLE_AT_MOST.num_seconds());
        let primary = self.primary.clone();
        tokio::spawn(async move {
            if let Err(error) = primary.ask::<()>(&prolong).await {
                tracing::debug!(%error, "a session was not prolonged");
            }
        });
    }

    /// Waits until there is a primary.
    #[cfg(test)]
    pub(crate) async fn ready(&self) -> bool {
        self.primary.ready(std::time::Duration::from_secs(5)).await
    }

    /// Takes a session out of the store as the end of its time does.
    #[cfg(test)]
    pub(crate) async fn forget(&self, token: &Token) {
        let delete = redis::pipe().cmd("DEL").arg(token.key()).to_owned();
        self.primary.ask::<()>(&delete).await.unwrap();
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

/// 503: more are signed in than there is room for.
fn full() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "sessions-full",
        "No room for another session",
        "as many sessions are going on as there is room for; one that is not used ends after 90 minutes",
    )
    .retry_after(60)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use messages::account::Role;
    use uuid::Uuid;

    use super::*;
    use crate::MOST_SESSIONS;
    use crate::routes::testing::sessions_up_to;

    fn somebody() -> Account {
        Account {
            id: Uuid::now_v7(),
            role: Role::Organiser,
        }
    }

    async fn real(most: u32) -> Sessions {
        let sessions = sessions_up_to(most, &std::env::var("REDIS_SENTINELS").unwrap());
        assert!(sessions.ready().await, "no primary of Redis was found");
        sessions
    }

    #[test]
    fn new_accounts_leave_room_for_those_that_were_there_before() {
        for (most, new) in [(50_000, 33_334), (3, 2), (1, 1)] {
            assert_eq!(Age::Settled.room(most), most);
            assert_eq!(Age::New.room(most), new);
        }
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn where_there_is_no_room_those_who_are_signed_in_go_on_and_others_are_told() {
        let (roomy, full) = (real(MOST_SESSIONS).await, real(1).await);
        let (ann, eve) = (somebody(), somebody());
        let mut anns = Vec::new();
        for _ in 0..MOST {
            anns.push(roomy.begin(ann, Age::Settled).await.unwrap().0);
        }
        for age in [Age::New, Age::Settled] {
            let refused = full.begin(eve, age).await.err().unwrap();
            assert_eq!(
                (refused.status().as_u16(), refused.slug()),
                (503, "sessions-full")
            );
        }
        for token in &anns {
            assert_eq!(full.account(token).await.unwrap().id, ann.id);
        }
        // Of an account that has all it may have, another takes the place of the oldest.
        let (another, _) = full.begin(ann, Age::New).await.unwrap();
        assert_eq!(full.account(&another).await.unwrap().id, ann.id);
        let ended = full.account(&anns[0]).await.unwrap_err();
        assert_eq!(ended.status(), 401);
        // Signing out makes room for nobody but is done all the same.
        full.end(&another).await.unwrap();
        assert_eq!(full.account(&another).await.unwrap_err().status(), 401);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn a_session_that_is_used_lasts_and_one_that_is_not_ends_early() {
        let sessions = real(MOST_SESSIONS).await;
        let (token, _) = sessions.begin(somebody(), Age::New).await.unwrap();
        let idle = IDLE_AT_MOST.num_seconds();
        assert!((idle - 60..=idle).contains(&sessions.time_left(&token).await));
        // As if it had not been used for most of that time.
        expires_in_two_minutes(&sessions, &token).await;
        sessions.account(&token).await.unwrap();
        let left = prolonged(&sessions, &token).await;
        assert!(left > idle - 60, "{left}");
        // It ends a day after it began, however much it is used.
        let soon = Utc::now().timestamp() + 300;
        let mut ends = redis::pipe();
        ends.cmd("HSET").arg(token.key()).arg("ends").arg(soon);
        sessions.primary.ask::<()>(&ends).await.unwrap();
        expires_in_two_minutes(&sessions, &token).await;
        sessions.account(&token).await.unwrap();
        let left = prolonged(&sessions, &token).await;
        assert!(left <= 300, "{left}");
    }

    async fn expires_in_two_minutes(sessions: &Sessions, token: &Token) {
        let mut expire = redis::pipe();
        expire.cmd("EXPIRE").arg(token.key()).arg(120);
        sessions.primary.ask::<()>(&expire).await.unwrap();
    }

    /// What a session has left once it has more than two minutes.
    async fn prolonged(sessions: &Sessions, token: &Token) -> i64 {
        let began = Instant::now();
        loop {
            let left = sessions.time_left(token).await;
            if left > 120 {
                return left;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "not prolonged: {left}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a session takes of Redis' memory at most: its two keys, which the test below measures, and
    /// its place among those that expire and those that live.
    const KEYS_BYTES: i64 = 500;
    const PLACES_BYTES: i64 = 300;

    /// All else that `identity` keeps, [`crate::failures`] and [`ending`] included, and what Redis
    /// takes for itself: its own, the backlog of the replicas, and its clients' buffers.
    const OTHERS_BYTES: i64 = 20 * 1024 * 1024;

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn as_many_sessions_as_there_may_be_fit_into_the_memory_of_redis() {
        let sessions = real(MOST_SESSIONS).await;
        let account = somebody();
        let (token, _) = sessions.begin(account, Age::New).await.unwrap();
        let mut ask = redis::pipe();
        for key in [token.key(), format!("sessions:{}", account.id)] {
            ask.cmd("MEMORY").arg("USAGE").arg(key);
        }
        let (one, list) = sessions.primary.ask::<(i64, i64)>(&ask).await.unwrap();
        assert!(one + list <= KEYS_BYTES, "{one} and {list} bytes");
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/redis/redis.conf"
        );
        let configuration = std::fs::read_to_string(file).unwrap();
        let (_, memory) = configuration.split_once("\nmaxmemory ").unwrap();
        let (megabytes, _) = memory.split_once("mb\n").unwrap();
        let memory = megabytes.parse::<i64>().unwrap() * 1024 * 1024;
        let all = i64::from(MOST_SESSIONS) * (KEYS_BYTES + PLACES_BYTES);
        assert!(all + OTHERS_BYTES <= memory, "{all} of {memory} bytes");
    }
}
