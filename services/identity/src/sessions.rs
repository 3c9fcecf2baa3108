//! Sessions in Redis: a bearer token is worth what stands under its hash.
//!
//! Redis holds only SHA-256 of each token, so nobody who reads it can sign in. A session ends a day
//! after it began, by signing out, or when its account has begun [`MOST`] newer ones. What this
//! promises: every question is answered or given up within a bound, and a question that could not be
//! asked lets nobody in. Signing in and out is answered after a replica has it too, so neither is undone
//! by the loss of the primary; where no replica confirms it the answer is 503, nobody knows whether it
//! was done, and both may be repeated. How a session is checked stands in [`check`], how one ended in
//! [`ending`].
//!
//! Redis evicts nothing, so its memory has to have room for all sessions, and they are counted. Where
//! [`Most`] are reached, sessions go on, and a sign-in is refused unless the one that it replaces makes
//! room. Accounts are free, so the sessions of a client's address are counted too: it takes several
//! addresses to use all the room. That many addresses together keep new sign-ins out until sessions
//! end is not prevented.
//!
//! | key | value |
//! |---|---|
//! | `session:<hash of the token>` | account, role, and the key of the address where it began |
//! | `sessions:<account>` | list of the account's session keys, oldest first |
//! | `sessions:at:<address>` | sorted set of the keys of sessions that began there, by when they end |
//! | `sessions:live` | sorted set of all session keys, by when they end |
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

use crate::client_address::ClientAddress;

#[cfg(test)]
pub(crate) use check::QUESTION_TIMEOUT;
pub(crate) use check::start_metrics;

/// How long a session lasts.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Most sessions of an account; one more ends the oldest.
pub(crate) const MOST: usize = 10;

/// Most sessions that go on at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of all accounts.
    pub(crate) in_all: u32,
    /// Of those that began at one client address.
    pub(crate) at_address: u32,
}

/// Keys of Redis.
const LIVE: &str = "sessions:live";
const ENDED: &str = "sessions:ended";

/// Begins a session, or returns why there is no room for it. A script is carried out as a whole: no two
/// sign-ins meet in the middle. It reads before it writes, and begins with what a full memory refuses,
/// so that nothing is left half done.
const BEGIN: &str = "
local session, list, here, live, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local account, role = ARGV[1], ARGV[2]
local lifetime, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local most_here, most_in_all, kept = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local now = tonumber(redis.call('TIME')[1])
local going, over = {}, {}
for _, one in ipairs(redis.call('LRANGE', list, 0, -1)) do
    table.insert(redis.call('EXISTS', one) == 1 and going or over, one)
end
local replaced = #going >= most and going[1]
local function is_full(set, at_most)
    return redis.call('ZCOUNT', set, now + 1, '+inf') >= at_most
        and not (replaced and redis.call('ZSCORE', set, replaced))
end
if is_full(here, most_here) then return -1 end
if is_full(live, most_in_all) then return 0 end
redis.call('HSET', session, 'account_id', account, 'role', role, 'began_at', here)
redis.call('EXPIRE', session, lifetime)
for _, set in ipairs({here, live}) do
    redis.call('ZADD', set, now + lifetime, session)
    redis.call('ZREMRANGEBYSCORE', set, '-inf', now)
    redis.call('EXPIRE', set, lifetime)
end
for _, one in ipairs(over) do redis.call('LREM', list, 1, one) end
redis.call('RPUSH', list, session)
redis.call('EXPIRE', list, lifetime)
while redis.call('LLEN', list) > most do
    local oldest = redis.call('LPOP', list)
    redis.call('ZREM', redis.call('HGET', oldest, 'began_at') or live, oldest)
    redis.call('ZREM', live, oldest)
    redis.call('DEL', oldest)
    redis.call('ZADD', ended, now, 'newer-sign-in ' .. oldest)
end
redis.call('ZREMRANGEBYSCORE', ended, '-inf', now - lifetime)
local many = redis.call('ZCARD', ended) - kept
if many > 0 then redis.call('ZPOPMIN', ended, many) end
return 1";

/// What [`BEGIN`] returns.
const BEGUN: i64 = 1;
const NO_ROOM: i64 = 0;

/// Ends a session, whose account and address only Redis knows. What a full memory refuses comes last.
const END: &str = "
local session, live, ended = KEYS[1], KEYS[2], KEYS[3]
local account = redis.call('HGET', session, 'account_id')
if account then
    redis.call('LREM', 'sessions:' .. account, 1, session)
    redis.call('ZREM', redis.call('HGET', session, 'began_at') or live, session)
    redis.call('ZREM', live, session)
    redis.call('DEL', session)
    redis.call('ZADD', ended, redis.call('TIME')[1], 'sign-out ' .. session)
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
    most: Most,
}

impl Sessions {
    /// Begins to look for the nodes, in the background. They have room for `most` sessions.
    pub(crate) fn open(watched: &Watched<'_>, most: Most) -> Self {
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

    /// Begins a session from this address; the account's oldest one ends where it has more than [`MOST`].
    ///
    /// # Errors
    /// 429 where too many of this address go on, 503 where there is no room for it, or it was not
    /// confirmed.
    pub(crate) async fn begin(
        &self,
        account: Account,
        address: ClientAddress,
    ) -> Result<(Token, DateTime<Utc>), Problem> {
        let token = Token::random();
        let expires_at = Utc::now() + LIFETIME;
        let mut begin = redis::pipe();
        begin
            .cmd("EVAL")
            .arg(BEGIN)
            .arg(5)
            .arg(token.key())
            .arg(format!("sessions:{}", account.id))
            .arg(format!("sessions:at:{address}"))
            .arg(LIVE)
            .arg(ENDED)
            .arg(account.id.to_string())
            .arg(account.role.as_str())
            .arg(LIFETIME.num_seconds())
            .arg(MOST)
            .arg(self.most.at_address)
            .arg(self.most.in_all)
            .arg(ending::MOST_KEPT);
        match self.confirm(begin).await?.first() {
            Some(Value::Int(BEGUN)) => Ok((token, expires_at)),
            Some(Value::Int(NO_ROOM)) => Err(full()),
            _ => Err(full_at_address()),
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

/// 503: as many sessions go on as there is room for.
fn full() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "sessions-full",
        "No room for another session",
        "as many sessions go on as there is room for; each ends a day after it began, or by signing out",
    )
    .retry_after(60)
}

/// 429: the same of one address.
fn full_at_address() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-sessions",
        "Too many sessions of one address",
        "too many sessions that began at this address go on; sign out of some",
    )
    .retry_after(60)
}

#[cfg(test)]
mod tests {
    use messages::account::Role;
    use uuid::Uuid;

    use super::*;
    use crate::routes::testing::{sessions_up_to, some_client};
    use crate::{MOST_SESSIONS, SESSIONS_PER_ADDRESS};

    fn somebody() -> Account {
        Account {
            id: Uuid::now_v7(),
            role: Role::Organiser,
        }
    }

    async fn real(in_all: u32, at_address: u32) -> Sessions {
        let most = Most { in_all, at_address };
        let sessions = sessions_up_to(most, &std::env::var("REDIS_SENTINELS").unwrap());
        assert!(sessions.ready().await, "no primary of Redis was found");
        sessions
    }

    /// Why no session began.
    async fn refusal(sessions: &Sessions, account: Account, from: ClientAddress) -> (u16, String) {
        let refused = sessions.begin(account, from).await.err().unwrap();
        (refused.status().as_u16(), refused.slug().to_owned())
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn where_there_is_no_room_those_who_are_signed_in_go_on_and_others_are_told() {
        let roomy = real(MOST_SESSIONS, SESSIONS_PER_ADDRESS).await;
        let full = real(1, SESSIONS_PER_ADDRESS).await;
        let (ann, eve) = (somebody(), somebody());
        let mut anns = Vec::new();
        for _ in 0..MOST {
            anns.push(roomy.begin(ann, some_client()).await.unwrap().0);
        }
        let refused = refusal(&full, eve, some_client()).await;
        assert_eq!(refused, (503, "sessions-full".to_owned()));
        for token in &anns {
            assert_eq!(full.account(token).await.unwrap().id, ann.id);
        }
        // Of an account that has all it may have, another takes the place of the oldest.
        let (another, _) = full.begin(ann, some_client()).await.unwrap();
        assert_eq!(full.account(&another).await.unwrap().id, ann.id);
        let ended = full.account(&anns[0]).await.unwrap_err();
        assert_eq!(ended.status(), 401);
        // Signing out makes room for nobody but is done all the same.
        full.end(&another).await.unwrap();
        assert_eq!(full.account(&another).await.unwrap_err().status(), 401);
    }

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn an_address_has_a_part_of_the_room_whatever_accounts_it_signs_in_to() {
        let few = u32::try_from(MOST).unwrap() + 1;
        let sessions = real(MOST_SESSIONS, few).await;
        let (here, ann, eve) = (some_client(), somebody(), somebody());
        let (eves, _) = sessions.begin(eve, here).await.unwrap();
        for _ in 0..MOST {
            sessions.begin(ann, here).await.unwrap();
        }
        let too_many = (429, "too-many-sessions".to_owned());
        assert_eq!(refusal(&sessions, somebody(), here).await, too_many);
        assert!(sessions.begin(somebody(), some_client()).await.is_ok());
        // One that ends an older one of the same address fits.
        sessions.begin(ann, here).await.unwrap();
        assert_eq!(refusal(&sessions, somebody(), here).await, too_many);
        assert_eq!(sessions.account(&eves).await.unwrap().id, eve.id);
        // And so does one after signing out.
        sessions.end(&eves).await.unwrap();
        sessions.begin(somebody(), here).await.unwrap();
        assert_eq!(refusal(&sessions, somebody(), here).await, too_many);
    }

    /// What a session takes of Redis' memory at most, where it is the only one of its account and of its
    /// address: three keys, which the test below measures, and its place among all keys that expire and
    /// all sessions that live.
    const KEYS_BYTES: i64 = 760;
    const PLACES_BYTES: i64 = 340;

    /// All else that `identity` keeps, [`crate::allowances`] and [`ending`] included, and what Redis
    /// takes for itself: its own, the backlog of the replicas, and its clients' buffers.
    const OTHERS_BYTES: i64 = 20 * 1024 * 1024;

    #[tokio::test]
    #[ignore = "needs the stores: make test"]
    async fn as_many_sessions_as_there_may_be_fit_into_the_memory_of_redis() {
        let sessions = real(MOST_SESSIONS, SESSIONS_PER_ADDRESS).await;
        let (account, address) = (somebody(), some_client());
        let (token, _) = sessions.begin(account, address).await.unwrap();
        let list = format!("sessions:{}", account.id);
        let set = format!("sessions:at:{address}");
        let mut ask = redis::pipe();
        for key in [token.key(), list, set] {
            ask.cmd("MEMORY").arg("USAGE").arg(key);
        }
        let used = sessions.primary.ask::<Vec<i64>>(&ask).await.unwrap();
        let sum: i64 = used.iter().sum();
        assert!(sum <= KEYS_BYTES, "{used:?} bytes");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis/redis.conf");
        let configuration = std::fs::read_to_string(file).unwrap();
        let (_, memory) = configuration.split_once("\nmaxmemory ").unwrap();
        let (megabytes, _) = memory.split_once("mb\n").unwrap();
        let memory = megabytes.parse::<i64>().unwrap() * 1024 * 1024;
        let all = i64::from(MOST_SESSIONS) * (KEYS_BYTES + PLACES_BYTES);
        assert!(all + OTHERS_BYTES <= memory, "{all} of {memory} bytes");
    }
}
