//! `GET /internal/session`: the session check that Nginx asks for on every protected request.
//!
//! 204 with the account's id and role in headers lets the request through, 401 does not; 503 says
//! that the check could not be made, which lets nobody in either.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use messages::account::{ACCOUNT_ID, ACCOUNT_ROLE};
use problem::Problem;

use crate::Identity;
use crate::sessions::Token;

/// Whose session a request is made with.
pub(super) async fn check(
    State(identity): State<Identity>,
    headers: HeaderMap,
) -> Result<(StatusCode, [(&'static str, String); 2]), Problem> {
    let token = Token::of(&headers)?;
    let account = identity.sessions.account(&token).await?;
    let id = (ACCOUNT_ID, account.id.to_string());
    let role = (ACCOUNT_ROLE, account.role.as_str().to_owned());
    Ok((StatusCode::NO_CONTENT, [id, role]))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use messages::account::{Account, Role};
    use sqlx::PgPool;
    use tokio::task::JoinSet;
    use uuid::Uuid;

    use crate::routes::testing::{TestIdentity, sessions};
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
        let (token, _) = identity.sessions.begin(account).await.unwrap();
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
        let begin = async || identity.sessions.begin(account).await.unwrap().0;
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
        // So does a crowd that signs in at the same moment.
        let mut crowd = JoinSet::new();
        for _ in 0..3 * MOST {
            let sessions = identity.sessions.clone();
            crowd.spawn(async move { sessions.begin(account).await.unwrap().0 });
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
