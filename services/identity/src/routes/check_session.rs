//! `GET /internal/session`: the session check that Nginx asks for on every protected request.
//!
//! 204 with the account's id and role in headers lets the request through, 401 does not; 503 says
//! that the check could not be made, which lets nobody in either. Where it is known how a session
//! ended, a header of the 401 says so, because Nginx answers the client in its own words.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use messages::account::{ACCOUNT_ID, ACCOUNT_ROLE};

use crate::Identity;
use crate::sessions::Token;

/// Header that says how a session ended.
const SESSION_ENDED: &str = "x-session-ended";

/// Whose session a request is made with.
pub(super) async fn check(State(identity): State<Identity>, headers: HeaderMap) -> Response {
    let token = match Token::of(&headers) {
        Ok(token) => token,
        Err(refused) => return refused.into_response(),
    };
    let refused = match identity.sessions.account(&token).await {
        Ok(account) => {
            let id = (ACCOUNT_ID, account.id.to_string());
            let role = (ACCOUNT_ROLE, account.role.as_str().to_owned());
            return (StatusCode::NO_CONTENT, [id, role]).into_response();
        }
        Err(refused) => refused,
    };
    if refused.status() == StatusCode::UNAUTHORIZED
        && let Some(ending) = identity.sessions.ending(&token).await
    {
        return ([(SESSION_ENDED, ending.as_str())], refused).into_response();
    }
    refused.into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use messages::account::{Account, Role};
    use sqlx::PgPool;
    use tokio::task::JoinSet;
    use uuid::Uuid;

    use crate::routes::testing::{TestIdentity, sessions, some_client};
    use crate::sessions::{LIFETIME, MOST, QUESTION_TIMEOUT, Token};

    /// What the check of a session comes to.
    async fn checked(identity: &TestIdentity, token: &Token) -> u16 {
        let authorization = format!("Bearer {}", token.reveal());
        identity.check(Some(&authorization)).await.status.as_u16()
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_session_tells_whose_it_is(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let account = Account {
            id: Uuid::now_v7(),
            role: Role::Organiser,
        };
        let begun = identity.sessions.begin(account, some_client()).await;
        let (token, _) = begun.unwrap();
        let checked = identity
            .check(Some(&format!("Bearer {}", token.reveal())))
            .await;
        assert_eq!(checked.status, 204);
        assert_eq!(
            checked.headers["x-account-id"],
            account.id.to_string().as_str()
        );
        assert_eq!(checked.headers["x-account-role"], "organiser");
        let left = identity.sessions.time_left(&token).await;
        assert!(
            (LIFETIME.num_seconds() - 60..=LIFETIME.num_seconds()).contains(&left),
            "{left}"
        );
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn one_session_too_many_ends_the_oldest(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let account = Account {
            id: Uuid::now_v7(),
            role: Role::Customer,
        };
        let begin = async || {
            let begun = identity.sessions.begin(account, some_client()).await;
            begun.unwrap().0
        };
        let mut tokens = Vec::new();
        for _ in 0..MOST {
            tokens.push(begin().await);
        }
        // One that was signed out counts no more.
        identity.sessions.end(&tokens.remove(3)).await.unwrap();
        tokens.push(begin().await);
        for token in &tokens {
            assert_eq!(checked(&identity, token).await, 204);
        }
        tokens.push(begin().await);
        assert_eq!(checked(&identity, &tokens.remove(0)).await, 401);
        for token in &tokens {
            assert_eq!(checked(&identity, token).await, 204);
        }
        // One that is over by itself counts no more either.
        identity.sessions.forget(&tokens.remove(4)).await;
        tokens.push(begin().await);
        for token in &tokens {
            assert_eq!(checked(&identity, token).await, 204);
        }
        // So does a crowd that signs in at the same moment.
        let mut crowd = JoinSet::new();
        for _ in 0..3 * MOST {
            let sessions = identity.sessions.clone();
            crowd.spawn(async move {
                let begun = sessions.begin(account, some_client()).await;
                begun.unwrap().0
            });
        }
        let mut good = 0;
        for token in crowd.join_all().await {
            good += usize::from(checked(&identity, &token).await == 204);
        }
        assert_eq!(good, MOST);
        for token in &tokens {
            assert_eq!(checked(&identity, token).await, 401);
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn it_is_said_how_a_session_ended_where_that_is_known(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let account = Account {
            id: Uuid::now_v7(),
            role: Role::Customer,
        };
        let begin = async || {
            let begun = identity.sessions.begin(account, some_client()).await;
            begun.unwrap().0
        };
        let ended = async |token: &Token| {
            let authorization = format!("Bearer {}", token.reveal());
            let refused = identity.check(Some(&authorization)).await;
            assert_eq!(refused.status, 401);
            let header = refused.headers.get("x-session-ended");
            header.map(|value| value.to_str().unwrap().to_owned())
        };
        let (oldest, signed_out, forgotten) = (begin().await, begin().await, begin().await);
        identity.sessions.end(&signed_out).await.unwrap();
        identity.sessions.forget(&forgotten).await;
        for _ in 0..MOST {
            begin().await;
        }
        assert_eq!(ended(&oldest).await.as_deref(), Some("newer-sign-in"));
        assert_eq!(ended(&signed_out).await.as_deref(), Some("sign-out"));
        assert_eq!(ended(&forgotten).await, None, "it was over by itself");
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn whatever_is_not_a_session_is_refused(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let forged = format!("Bearer {}", "0".repeat(64));
        let injected = format!("Bearer {}", "*".repeat(64));
        for authorization in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Basic YTpi"),
            Some(forged.as_str()),
            Some(injected.as_str()),
        ] {
            let refused = identity.check(authorization).await;
            assert_eq!(refused.status, 401, "{authorization:?}");
            assert_eq!(refused.body["type"], "/problems/unauthorized");
            assert!(!refused.headers.contains_key("x-account-id"));
        }
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn where_the_check_cannot_be_made_nobody_is_let_in(pool: PgPool) {
        let identity = TestIdentity::with(pool, sessions("127.0.0.1:1"));
        let started = Instant::now();
        let refused = identity
            .check(Some(&format!("Bearer {}", "0".repeat(64))))
            .await;
        assert_eq!(refused.status, 503);
        assert!(
            started.elapsed() < 4 * QUESTION_TIMEOUT,
            "{:?}",
            started.elapsed()
        );
    }
}
