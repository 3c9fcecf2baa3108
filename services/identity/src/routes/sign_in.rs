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
    /// When the session ends by itself.
    expires_at: DateTime<Utc>,
}

/// Sign in.
///
/// The `token` of the answer is what requests that need a session send as `Authorization: Bearer`.
/// An account has ten sessions at most: the eleventh ends the oldest.
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
    )
)]
pub(super) async fn sign_in(
    State(identity): State<Identity>,
    Json(credentials): Json<Credentials>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let session = begin(&identity, &credentials).await;
    let result = match &session {
        Ok(_) => "succeeded",
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => "wrong_credentials",
        Err(_) => "failed",
    };
    SIGN_INS.with_label_values(&[result]).inc();
    Ok((StatusCode::CREATED, Json(session?)))
}

async fn begin(identity: &Identity, credentials: &Credentials) -> Result<Session, Problem> {
    let found = sqlx::query!(
        "SELECT id, role, password_hash FROM accounts WHERE lower(email) = lower($1)",
        credentials.email.as_str()
    )
    .fetch_optional(&identity.accounts)
    .await?;
    let hash = found.as_ref().map(|found| found.password_hash.as_str());
    // Without an account a hash is computed all the same: time does not tell who has one.
    let right = identity
        .passwords
        .check(&credentials.password, hash, Instant::now() + TURNS)
        .await?;
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
    let (token, expires_at) = identity.sessions.begin(account).await?;
    Ok(Session {
        token: token.reveal().to_owned(),
        account_id: account.id,
        role,
        expires_at,
    })
}

/// Shows every counter from the start, at nothing.
pub(crate) fn start_metrics() {
    for result in ["succeeded", "wrong_credentials", "failed"] {
        let _ = SIGN_INS.with_label_values(&[result]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sqlx::PgPool;

    use crate::routes::testing::{PASSWORD, TestIdentity, ada, sessions};

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
            identity.sign_in(email, "a wrong password").await;
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
}
