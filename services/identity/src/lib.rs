//! Accounts, sign in and out, and the session check that Nginx asks for on protected requests.
//!
//! Accounts stand in Postgres, sessions in Redis. What this promises: a password is kept as an
//! argon2id hash only, and one is computed at a time, so a crowd cannot eat the machine; what a client
//! may have hashed is limited far below that, and wrong passwords further; those from elsewhere limit
//! no account; an address that no account has takes as long as a wrong password; where the session
//! check cannot be made nobody is let in. What it leaves to others: rates of requests are limited by
//! Nginx, and what a role may do is each service's own affair.

mod allowances;
mod client_address;
mod fields;
mod passwords;
mod pruning;
mod routes;
mod sessions;

use std::time::Duration;

use sentinel::{Address, Watched};
use service::database::{self, Timeouts};
use service::health::Readiness;
use service::{Doors, Key, Listeners, Process, Secret, callers};
use sqlx::PgPool;

use allowances::Allowances;
use passwords::Passwords;
use sessions::{Most, Sessions};

/// Accounts, sessions, the session check.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "identity", version)]
pub struct Settings {
    /// What every process has.
    #[command(flatten)]
    pub listeners: Listeners,
    /// Where the accounts are.
    #[command(flatten)]
    pub database: database::DatabaseSettings,
    /// Host and port of each sentinel that knows where the sessions are, with commas in between.
    #[arg(
        long,
        env = "REDIS_SENTINELS",
        value_delimiter = ',',
        default_value = "sentinel-1:26379,sentinel-2:26379,sentinel-3:26379"
    )]
    pub redis_sentinels: Vec<Address>,
    /// What the sentinels call the Redis nodes that they watch.
    #[arg(long, env = "REDIS_NAME", default_value = "boxoffice")]
    pub redis_name: String,
    /// File with the password of the nodes and the sentinels.
    #[arg(long, env = "REDIS_PASSWORD_FILE")]
    pub redis_password_file: Secret,
    /// Most sessions that go on at once. Redis evicts none, so its memory has to have room for all of
    /// them: 1,100 bytes each.
    #[arg(long, env = "MOST_SESSIONS", default_value_t = MOST_SESSIONS, value_parser = clap::value_parser!(u32).range(1..))]
    pub most_sessions: u32,
    /// Most sessions that go on at once of those that began at one client address.
    #[arg(long, env = "SESSIONS_PER_ADDRESS", default_value_t = SESSIONS_PER_ADDRESS, value_parser = clap::value_parser!(u32).range(1..))]
    pub sessions_per_address: u32,
    /// Password hashes that one client address may cost each second, and four times as many at once:
    /// one of each sign-in, right or wrong, and of each sign-up.
    #[arg(long, env = "PASSWORD_HASHES_PER_SECOND", default_value_t = PASSWORD_HASHES_PER_SECOND, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub password_hashes_per_second: u32,
    /// File with the key by which Nginx is known.
    #[arg(long, env = "NGINX_KEY_FILE")]
    pub nginx_key_file: Key,
}

/// How many fit into the 64 MB of `deploy/redis/redis.conf`.
const MOST_SESSIONS: u32 = 40_000;

/// A quarter of all: one address leaves room for others.
const SESSIONS_PER_ADDRESS: u32 = 10_000;

/// A quarter of what two replicas can hash on two cores that have nothing else to do.
const PASSWORD_HASHES_PER_SECOND: u32 = 25;

impl service::Settings for Settings {
    fn listeners(&self) -> &Listeners {
        &self.listeners
    }
}

/// How long requests wait for the database: a read less than it may take, and a sign-up, which asks
/// it more than once and hashes in between, too.
const TIMEOUTS: Timeouts = Timeouts {
    acquire: Duration::from_millis(500),
    lock: Duration::from_millis(500),
    statement: Duration::from_millis(900),
};

/// What the routes work with.
#[derive(Clone)]
struct Identity {
    accounts: PgPool,
    allowances: Allowances,
    passwords: Passwords,
    sessions: Sessions,
}

/// Makes what the process is made of.
///
/// # Errors
/// A store was not there in time, or a migration failed.
pub fn start(settings: Settings, process: Process) -> service::Body {
    Box::pin(make(settings, process))
}

async fn make(settings: Settings, process: Process) -> anyhow::Result<Doors> {
    let passwords = Passwords::new()?;
    let accounts = database::open(&settings.database, TIMEOUTS, &process).await?;
    database::migrate(&accounts, &sqlx::migrate!(), &process).await?;
    let watched = Watched {
        sentinels: &settings.redis_sentinels,
        name: &settings.redis_name,
        password: settings.redis_password_file.reveal(),
    };
    let most = Most {
        in_all: settings.most_sessions,
        at_address: settings.sessions_per_address,
    };
    let sessions = Sessions::open(&watched, most);
    service::wait::until_ready(&process, "redis", || sessions.answer()).await?;
    process.spawn(
        "prune keys",
        pruning::forever(accounts.clone(), process.clone()),
    );
    process.spawn(
        "count sessions",
        sessions::census::forever(sessions.clone(), process.clone()),
    );

    let readiness = database::readiness(Readiness::new(), &accounts).needs("redis", {
        let sessions = sessions.clone();
        move || {
            let sessions = sessions.clone();
            async move { Ok(sessions.answer().await?) }
        }
    });
    routes::start_metrics();
    sessions::start_metrics();
    let allowances = Allowances::at(
        sessions.primary().clone(),
        settings.password_hashes_per_second,
    );
    let identity = Identity {
        accounts,
        allowances,
        passwords,
        sessions,
    };
    Ok(Doors {
        public: callers::only(&settings.nginx_key_file, routes::public(identity.clone())),
        internal: callers::only(&settings.nginx_key_file, routes::internal(identity)),
        readiness,
        request_timeout: service::http::REQUEST_TIMEOUT,
    })
}

#[cfg(test)]
mod tests {
    use service::http::{READ_TIMEOUT, REQUEST_TIMEOUT};

    use super::*;
    use crate::passwords::TURNS;

    /// What hashes take beside the wait for their turns, on a machine that has much to do.
    const HASHES: Duration = Duration::from_millis(500);

    #[test]
    fn whatever_a_request_waits_for_is_given_up_before_the_request() {
        let query = TIMEOUTS.acquire + TIMEOUTS.statement;
        assert!(query < READ_TIMEOUT, "who am I: {query:?}");
        let taken = sentinel::ANSWER_TIMEOUT;
        let sign_in = taken + query + TURNS + HASHES + sentinel::CONFIRMED_TIMEOUT;
        assert!(sign_in < REQUEST_TIMEOUT, "signing in: {sign_in:?}");
        // A key and an address may each be waited for, and a repetition is asked for its password.
        let asked = TIMEOUTS.acquire + 2 * TIMEOUTS.lock + query;
        let sign_up = 2 * taken + TURNS + HASHES + asked;
        assert!(sign_up < REQUEST_TIMEOUT, "signing up: {sign_up:?}");
        assert!(TIMEOUTS.lock < TIMEOUTS.statement);
    }

    /// How long Nginx waits for an answer, by one of its files.
    fn nginx(file: &str) -> Duration {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx/conf/");
        let text = std::fs::read_to_string(format!("{folder}{file}")).unwrap();
        let value = text.split("proxy_read_timeout ").nth(1).unwrap();
        let value = value.split(';').next().unwrap();
        match value.strip_suffix("ms") {
            Some(number) => Duration::from_millis(number.parse().unwrap()),
            None => Duration::from_secs(value.trim_end_matches('s').parse().unwrap()),
        }
    }

    #[test]
    fn nginx_waits_longer_than_a_session_takes_to_be_checked_or_ended() {
        // Of one that is over it is asked how it ended as well.
        let check = sessions::QUESTION_TIMEOUT + sentinel::ANSWER_TIMEOUT;
        assert!(check < nginx("session-check.conf"));
        assert!(sentinel::CONFIRMED_TIMEOUT < nginx("write.conf"));
    }
}
