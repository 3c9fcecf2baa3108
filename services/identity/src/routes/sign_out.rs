//! `DELETE /api/identity/sessions/current`: sign out.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use problem::Problem;
use problem::openapi::{Answers, DOOR, SESSION};

use crate::Identity;
use crate::sessions::Token;

/// Sign out.
///
/// Ends the session that the request is made with, for good.
#[utoipa::path(
    delete,
    path = "/api/identity/sessions/current",
    operation_id = "sign_out",
    tag = "sessions",
    security(("session" = [])),
    responses(
        Answers<{ DOOR | SESSION }>,
        (status = 204, description = "The session is over"),
    )
)]
pub(super) async fn sign_out(
    State(identity): State<Identity>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let token = Token::of(&headers)?;
    identity.sessions.end(&token).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use crate::routes::testing::{PASSWORD, TestIdentity, ada};

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_signed_out_session_is_over_and_others_go_on(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let body = ada();
        identity.sign_up("k", &body).await;
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let session = identity
                .sign_in(body["email"].as_str().unwrap(), PASSWORD)
                .await;
            tokens.push(session.body["token"].as_str().unwrap().to_owned());
        }
        assert_eq!(identity.sign_out(&tokens[0]).await.status, 204);
        assert_eq!(
            identity.sign_out(&tokens[0]).await.status,
            204,
            "and stays over"
        );
        assert_eq!(
            identity
                .check(Some(&format!("Bearer {}", tokens[0])))
                .await
                .status,
            401
        );
        assert_eq!(
            identity
                .check(Some(&format!("Bearer {}", tokens[1])))
                .await
                .status,
            204
        );
        assert_eq!(identity.sign_out("no token").await.status, 401);
    }
}
