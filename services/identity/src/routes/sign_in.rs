//! `POST /api/identity/sessions`: sign in.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use messages::account::{Account, Role};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, DATABASE, DOOR};
use prometheus::{IntCounterVec, register_int_counter_vec};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Identity;
use crate::allowances::Place;
use crate::client_address::ClientAddress;
use crate::fields::{Email, Password};
use crate::passwords::TURNS;

static SIGN_INS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "identity_signins_total",
        "Attempts to sign in, by result.",
        &["result"]
    )
    .expect("metric names are unique");
    metric
});

/// The results that there are.
const RESULTS: [&str; 5] = [
    "succeeded",
    "wrong_credentials",
    "limited",
    "no_room",
    "failed",
];

/// Who signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// Address of the account, capitalised in any way.
    email: Email,
    /// Its password.
    password: Password,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    /// Whose session it is.
    account_id: Uuid,
    /// What the account may do.
    role: Role,
    /// When the session ends, unless it is ended before.
    expires_at: DateTime<Utc>,
}

/// Sign in.
///
/// The `token` of the answer is what requests that need a session send as `Authorization: Bearer`.
/// A session ends a day after it began. An account has ten sessions at most: the eleventh ends the
/// oldest. Sign-ins from one address are limited, and those that fail further; then each has to wait.
#[utoipa::path(
    post,
    path = "/api/identity/sessions",
    operation_id = "sign_in",
    tag = "sessions",
    request_body(content = Credentials, examples(
        ("customer" = (summary = "A demo customer", value = json!({
            "email": "alice@boxoffice.example", "password": "demo-password",
        }))),
        ("organiser" = (summary = "The demo organiser", value = json!({
            "email": "demo-organiser@boxoffice.example", "password": "demo-password",
        }))),
    )),
    responses(
        Answers<{ DOOR | DATABASE | BODY }>,
        (status = 201, body = Session, description = "The session"),
        (status = 401, body = problem::Body, content_type = "application/problem+json", description = "wrong-credentials"),
        (status = 429, body = problem::Body, content_type = "application/problem+json", description = "too-many-failures, too-many-requests, too-many-sessions (all with Retry-After)"),
        (status = 503, body = problem::Body, content_type = "application/problem+json", description = "unavailable, sessions-full (both with Retry-After)"),
    )
)]
pub(super) async fn sign_in(
    State(identity): State<Identity>,
    address: ClientAddress,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let session = begin(&identity, &credentials, address).await;
    let result = match &session {
        Ok(_) => "succeeded",
        Err(problem) => match problem.slug() {
            "wrong-credentials" => "wrong_credentials",
            "too-many-failures" | "too-many-requests" => "limited",
            "too-many-sessions" | "sessions-full" => "no_room",
            _ => "failed",
        },
    };
    SIGN_INS.with_label_values(&[result]).inc();
    Ok((StatusCode::CREATED, Json(session?)))
}

async fn begin(
    identity: &Identity,
    credentials: &Credentials,
    address: ClientAddress,
) -> Result<Session, Problem> {
    let (password, until) = (&credentials.password, Instant::now() + TURNS);
    let place = Place::of(credentials.email.as_str(), address);
    let hashes = password.spellings().len();
    identity.allowances.take_sign_in(&place, hashes).await?;
    let found = sqlx::query!(
        "SELECT id, role, password_hash FROM accounts WHERE lower(email) = lower($1)",
        credentials.email.as_str()
    )
    .fetch_optional(&identity.accounts)
    .await?;
    let hash = found.as_ref().map(|found| found.password_hash.as_str());
    // Without an account a hash is computed all the same: time does not tell who has one.
    let right = identity.passwords.check(password, hash, until).await?;
    let Some(found) = found.filter(|_| right) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong-credentials",
            "Wrong address or password",
            "no account has this address and password",
        ));
    };
    let role = found
        .role
        .parse()
        .map_err(|()| Problem::internal("an account has an unknown role"))?;
    let account = Account { id: found.id, role };
    let (begun, ()) = tokio::join!(
        identity.sessions.begin(account, address),
        identity.allowances.signed_in(&place)
    );
    let (token, expires_at) = begun?;
    Ok(Session {
        token: token.reveal().to_owned(),
        account_id: account.id,
        role,
        expires_at,
    })
}

/// Shows every counter from the start, at nothing.
pub(crate) fn start_metrics() {
    for result in RESULTS {
        let _ = SIGN_INS.with_label_values(&[result]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use sqlx::PgPool;
    use tokio::task::JoinSet;

    use crate::routes::testing::{PASSWORD, Said, TestIdentity, ada, sessions, some_address};
    use crate::sessions::Sessions;

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn the_right_password_gives_a_session_and_no_other_does(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        let account = identity.sign_up("k", &body).await.body;
        let email = body["email"].as_str().unwrap();
        let session = identity.sign_in(&email.to_lowercase(), PASSWORD).await;
        assert_eq!(session.status, 201, "{}", session.body);
        assert_eq!(session.body["account_id"], account["id"]);
        assert_eq!(session.body["token"].as_str().unwrap().len(), 64);
        let wrong = identity.sign_in(email, "correct horse batterY").await;
        let unknown = identity.sign_in("nobody@example.org", PASSWORD).await;
        assert_eq!((wrong.status.as_u16(), unknown.status.as_u16()), (401, 401));
        assert_eq!(
            wrong.body, unknown.body,
            "an answer does not tell who has an account"
        );
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn an_unknown_address_takes_as_long_as_a_wrong_password(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let known = body["email"].as_str().unwrap();
        let took = async |email: &str| {
            let started = Instant::now();
            // Each from an address of its own, or it would be limited.
            identity
                .sign_in_from(&some_address(), email, "a wrong password")
                .await;
            started.elapsed().as_secs_f64()
        };
        // The fastest of each, taken in turns: what else the machine does slows
        // single tries, and can only make more of them necessary.
        let (mut unknown, mut wrong) = (f64::MAX, f64::MAX);
        for turn in 1.. {
            unknown = unknown.min(took("nobody@example.org").await);
            wrong = wrong.min(took(known).await);
            let ratio = unknown / wrong;
            if turn >= 8 && (0.6..1.7).contains(&ratio) {
                break;
            }
            assert!(turn < 64, "{ratio}");
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn without_redis_there_is_no_sign_in(pool: PgPool) {
        let identity = TestIdentity::with(pool, sessions("127.0.0.1:1"));
        let body = ada();
        identity.sign_up("k", &body).await;
        let refused = identity
            .sign_in(body["email"].as_str().unwrap(), PASSWORD)
            .await;
        assert_eq!(refused.status, 503);
        assert!(refused.headers.contains_key("retry-after"));
    }

    const WRONG: &str = "a wrong password";

    /// Most attempts after which a limit has to be met. Allowances refill while a busy machine hashes.
    const ENOUGH: usize = 400;

    /// Refused because others failed, and told when to come again.
    fn is_limited(said: &Said) -> bool {
        if said.status != 429 {
            return false;
        }
        assert_eq!(said.body["type"], "/problems/too-many-failures");
        let seconds = said.headers["retry-after"].to_str().unwrap();
        assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()));
        true
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn guesses_at_an_account_are_limited_and_do_not_limit_its_owner(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let email = body["email"].as_str().unwrap();
        let attacker = some_address();
        let mut heard = 0;
        while !is_limited(&identity.sign_in_from(&attacker, email, WRONG).await) {
            heard += 1;
            assert!(heard < ENOUGH);
        }
        assert!(heard >= 10, "a few failures are everybody's: {heard}");
        // Right or wrong, it is not looked at.
        let guessed = identity.sign_in_from(&attacker, email, PASSWORD).await;
        assert!(is_limited(&guessed), "{}", guessed.body);
        // The owner, where the account was made, and at an address that was never seen.
        for address in [identity.home.as_str(), some_address().as_str()] {
            let session = identity.sign_in_from(address, email, PASSWORD).await;
            assert_eq!(session.status, 201, "{address}: {}", session.body);
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn guesses_at_many_accounts_limit_the_address_that_they_come_from(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let (neighbour, stranger, attacker) = (ada(), ada(), some_address());
        let email = |body: &serde_json::Value| body["email"].as_str().unwrap().to_owned();
        identity.sign_up_from(&attacker, "k", &neighbour).await;
        identity.sign_up("k", &stranger).await;
        let mut heard = 0;
        loop {
            let unknown = email(&ada());
            if is_limited(&identity.sign_in_from(&attacker, &unknown, WRONG).await) {
                break;
            }
            heard += 1;
            assert!(heard < ENOUGH);
        }
        // An account that was made behind the same address is known there.
        let known = identity
            .sign_in_from(&attacker, &email(&neighbour), PASSWORD)
            .await;
        assert_eq!(known.status, 201, "{}", known.body);
        // One that was not is limited there, and only there. Allowances refill, so some may be heard.
        let stranger = email(&stranger);
        let elsewhere = identity
            .sign_in_from(&some_address(), &stranger, PASSWORD)
            .await;
        assert_eq!(elsewhere.status, 201, "{}", elsewhere.body);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn guesses_at_an_account_from_many_addresses_do_not_limit_its_owner(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let email = body["email"].as_str().unwrap();
        for _ in 0..30 {
            let guess = identity.sign_in_from(&some_address(), email, WRONG).await;
            assert_eq!(guess.status, 401, "{}", guess.body);
        }
        for address in [identity.home.as_str(), some_address().as_str()] {
            let session = identity.sign_in_from(address, email, PASSWORD).await;
            assert_eq!(session.status, 201, "{address}: {}", session.body);
        }
    }

    /// Sends this many sign-ins at once, half of them to each replica, and returns the answers.
    async fn at_once(
        replicas: &[Arc<TestIdentity>; 2],
        address: &str,
        count: usize,
        email: impl Fn() -> String,
        password: &'static str,
    ) -> Vec<Said> {
        let mut asked = JoinSet::new();
        for number in 0..count {
            let replica = replicas[number % 2].clone();
            let (address, email) = (address.to_owned(), email());
            asked.spawn(async move { replica.sign_in_from(&address, &email, password).await });
        }
        asked.join_all().await
    }

    async fn real() -> Sessions {
        let sessions = sessions(&std::env::var("REDIS_SENTINELS").unwrap());
        assert!(sessions.ready().await, "no primary of Redis was found");
        sessions
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn guesses_at_once_at_two_replicas_are_limited_as_one_after_the_other(pool: PgPool) {
        // With hashes for all of them: it is the failures that are limited.
        let replica = async || Arc::new(TestIdentity::hashing(pool.clone(), real().await, 100));
        let replicas = [replica().await, replica().await];
        let (attacker, began) = (some_address(), Instant::now());
        let unknown = || ada()["email"].as_str().unwrap().to_owned();
        let answers = at_once(&replicas, &attacker, 200, unknown, WRONG).await;
        let heard = answers.iter().filter(|said| said.status == 401).count();
        // Forty, and what refills meanwhile.
        let most = 40.0 + 2.0 * began.elapsed().as_secs_f64();
        assert!(heard as f64 <= most, "{heard} of 200, and not {most}");
        assert!(answers.iter().any(is_limited));
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn right_passwords_are_hashed_at_a_limited_rate_and_keep_no_other_address_out(
        pool: PgPool,
    ) {
        let replica = async || Arc::new(TestIdentity::hashing(pool.clone(), real().await, 2));
        let replicas = [replica().await, replica().await];
        let body = ada();
        let email = body["email"].as_str().unwrap();
        assert_eq!(replicas[0].sign_up("k", &body).await.status, 201);
        let (attacker, began) = (some_address(), Instant::now());
        let flood = at_once(&replicas, &attacker, 40, || email.to_owned(), PASSWORD);
        let other = some_address();
        let elsewhere = replicas[0].sign_in_from(&other, email, PASSWORD);
        let (answers, elsewhere) = tokio::join!(flood, elsewhere);
        assert_eq!(elsewhere.status, 201, "{}", elsewhere.body);
        // Eight, and what refills meanwhile.
        let most = 8.0 + 2.0 * began.elapsed().as_secs_f64();
        let (heard, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|said| said.status != 429);
        assert!(heard.len() as f64 <= most, "{} and not {most}", heard.len());
        assert!(!refused.is_empty());
        for said in refused {
            assert_eq!(said.body["type"], "/problems/too-many-requests");
            assert!(said.headers.contains_key("retry-after"));
        }
        // Sign-ups take from the same allowance. It refills, so some may be heard.
        let mut tries = 0..ENOUGH;
        loop {
            let refused = replicas[1].sign_up_from(&attacker, "k", &ada()).await;
            if refused.status == 429 {
                assert_eq!(refused.body["type"], "/problems/too-many-requests");
                break;
            }
            assert!(tries.next().is_some());
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn signing_in_to_an_account_of_ones_own_gives_no_further_guesses(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let (own, attacker) = (ada(), some_address());
        identity.sign_up_from(&attacker, "k", &own).await;
        let (own, began) = (own["email"].as_str().unwrap(), Instant::now());
        let mut heard = 0;
        for _ in 0..60 {
            let right = identity.sign_in_from(&attacker, own, PASSWORD).await;
            let unknown = ada()["email"].as_str().unwrap().to_owned();
            let wrong = identity.sign_in_from(&attacker, &unknown, WRONG).await;
            heard += usize::from(wrong.status == 401);
            assert!(
                [201, 429].contains(&right.status.as_u16()),
                "{}",
                right.body
            );
        }
        let most = 40.0 + 2.0 * began.elapsed().as_secs_f64();
        assert!(heard as f64 <= most, "{heard} and not {most}");
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn signing_in_rightly_is_never_limited(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let email = body["email"].as_str().unwrap();
        for round in 0..60 {
            let address = some_address();
            let from = if round % 2 == 0 {
                &identity.home
            } else {
                &address
            };
            let session = identity.sign_in_from(from, email, PASSWORD).await;
            assert_eq!(session.status, 201, "{}", session.body);
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_success_forgives_the_failures_before_it(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let email = body["email"].as_str().unwrap();
        for _ in 0..4 {
            for _ in 0..5 {
                assert_eq!(identity.sign_in(email, WRONG).await.status, 401);
            }
            assert_eq!(identity.sign_in(email, PASSWORD).await.status, 201);
        }
    }
}
