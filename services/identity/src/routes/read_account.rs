//! `GET /api/identity/accounts/me`: who am I.

use axum::extract::State;
use messages::account::{Account, Role};
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, DATABASE, DOOR, SESSION};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Identity;
use crate::sessions::no_session;

/// An account, as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountView {
    /// Its id (UUIDv7).
    pub(super) id: Uuid,
    /// The address to sign in with.
    pub(super) email: String,
    /// What the owner is called.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: Role,
}

/// Read the account of this session.
///
/// Whose session it is, and what the account may do.
#[utoipa::path(
    get,
    path = "/api/identity/accounts/me",
    operation_id = "read_account",
    tag = "accounts",
    security(("session" = [])),
    responses(
        Answers<{ DOOR | DATABASE | SESSION }>,
        (status = 200, body = AccountView, description = "The account"),
    )
)]
pub(super) async fn read(
    State(identity): State<Identity>,
    account: Account,
) -> Result<Json<AccountView>, Problem> {
    let found = sqlx::query!("SELECT email, name FROM accounts WHERE id = $1", account.id)
        .fetch_optional(&identity.accounts)
        .await?
        .ok_or_else(no_session)?;
    Ok(Json(AccountView {
        id: account.id,
        email: found.email,
        name: found.name,
        role: account.role,
    }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::json;
    use sqlx::PgPool;

    use crate::routes::testing::{PASSWORD, TestIdentity, ada};

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn one_reads_ones_own_account(pool: PgPool) {
        let identity = TestIdentity::open(pool).await;
        let mut body = ada();
        body["role"] = json!("organiser");
        let account = identity.sign_up("k", &body).await.body;
        let session = identity
            .sign_in(body["email"].as_str().unwrap(), PASSWORD)
            .await
            .body;
        let token = session["token"].as_str().unwrap();
        let checked = identity.check(Some(&format!("Bearer {token}"))).await;
        assert_eq!(identity.me(&checked.headers).await.body, account);
        assert_eq!(identity.me(&HeaderMap::new()).await.status, 401);
    }
}
