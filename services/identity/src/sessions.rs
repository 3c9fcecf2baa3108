//! Sessions in Redis: a bearer token is worth what stands under its hash.
//!
//! Redis holds only SHA-256 of each token, so nobody who reads it can sign in. A session ends by
//! its time to live, by signing out, or when its account has begun [`MOST`] newer ones. What this
//! promises: every question is answered or given up within a bound, a question that could not be
//! asked lets nobody in, and an account has a bounded share of a memory that evicts nothing.
//!
//! | key | value |
//! |---|---|
//! | `session:<hash of the token>` | account and role |
//! | `sessions:<account>` | list of the account's session keys, oldest first |

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use chrono::{DateTime, TimeDelta, Utc};
use messages::account::{Account, Role};
use problem::Problem;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, Script};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How long a session lasts.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Most sessions of an account; one more ends the oldest.
pub(crate) const MOST: usize = 10;

/// Begins a session. All last equally long, so those whose time is over stand first in the list
/// and leave it first. A script is carried out as a whole: no two sign-ins meet in the middle.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local session, list = KEYS[1], KEYS[2]
         local account, role, lifetime, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
         redis.call('HSET', session, 'account_id', account, 'role', role)
         redis.call('EXPIRE', session, lifetime)
         redis.call('RPUSH', list, session)
         redis.call('EXPIRE', list, lifetime)
         while redis.call('LLEN', list) > most do
             redis.call('DEL', redis.call('LPOP', list))
         end",
    )
});

/// Ends a session, whose account only Redis knows.
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local account = redis.call('HGET', KEYS[1], 'account_id')
         if account then
             redis.call('LREM', 'sessions:' .. account, 1, KEYS[1])
             redis.call('DEL', KEYS[1])
         end",
    )
});

/// How long Redis may take to let us in, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest that one question takes, a new connection included.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Host and port of a Redis.
#[derive(Clone, Debug)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .and_then(|(host, port)| {
                Some(Self {
                    host: host.to_owned(),
                    port: port.parse().ok()?,
                })
            })
            .ok_or("an address is host:port")
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
pub(crate) struct Sessions(ConnectionManager);

impl Sessions {
    /// Prepares the connection, which is made when it is first used and again whenever it is lost.
    pub(crate) fn open(address: &Address, password: &str) -> Result<Self, RedisError> {
        let info = ConnectionAddr::Tcp(address.host.clone(), address.port)
            .into_connection_info()?
            .set_redis_settings(RedisConnectionInfo::default().set_password(password));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(200));
        Ok(Self(ConnectionManager::new_lazy_with_config(
            Client::open(info)?,
            config,
        )?))
    }

    /// Whether Redis answers.
    pub(crate) async fn answer(&self) -> Result<(), Problem> {
        let mut redis = self.0.clone();
        asked(redis::cmd("PING").exec_async(&mut redis)).await
    }

    /// Begins a session; the account's oldest one ends where it has more than [`MOST`].
    pub(crate) async fn begin(&self, account: Account) -> Result<(Token, DateTime<Utc>), Problem> {
        let token = Token::random();
        let expires_at = Utc::now() + LIFETIME;
        let mut redis = self.0.clone();
        let mut script = BEGIN.key(token.key());
        script
            .key(format!("sessions:{}", account.id))
            .arg(account.id.to_string())
            .arg(account.role.as_str())
            .arg(LIFETIME.num_seconds())
            .arg(MOST);
        asked(script.invoke_async::<()>(&mut redis)).await?;
        Ok((token, expires_at))
    }

    /// Whose session it is; 401 where there is none.
    pub(crate) async fn account(&self, token: &Token) -> Result<Account, Problem> {
        let mut redis = self.0.clone();
        let command = redis::cmd("HMGET")
            .arg(token.key())
            .arg("account_id")
            .arg("role")
            .to_owned();
        let found: (Option<String>, Option<String>) =
            asked(command.query_async(&mut redis)).await?;
        let (Some(id), Some(role)) = found else {
            return Err(no_session());
        };
        let id = Uuid::parse_str(&id).map_err(Problem::internal)?;
        let role: Role = role
            .parse()
            .map_err(|()| Problem::internal("a session has an unknown role"))?;
        Ok(Account { id, role })
    }

    /// Ends a session; one that is over already stays over.
    pub(crate) async fn end(&self, token: &Token) -> Result<(), Problem> {
        let mut redis = self.0.clone();
        let script = END.key(token.key());
        asked(script.invoke_async(&mut redis)).await
    }

    /// Seconds that a session has left.
    #[cfg(test)]
    pub(crate) async fn time_left(&self, token: &Token) -> i64 {
        let mut redis = self.0.clone();
        redis::cmd("TTL")
            .arg(token.key())
            .query_async(&mut redis)
            .await
            .unwrap()
    }
}

/// Waits for Redis with a bound; 503 where it does not answer.
async fn asked<T>(question: impl Future<Output = Result<T, RedisError>>) -> Result<T, Problem> {
    let away = || Problem::unavailable("the session store");
    match tokio::time::timeout(QUESTION_TIMEOUT, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(away().cause(error)),
        Err(_) => Err(away()),
    }
}
