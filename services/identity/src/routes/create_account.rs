//! `POST /api/identity/accounts`: sign up.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use idempotency::{Answer, Begun, Key, Operation};
use messages::account::Role;
use problem::Problem;
use problem::extract::Json;
use problem::openapi::{Answers, BODY, DATABASE, DOOR, KEY};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use transaction::Isolation;
use utoipa::ToSchema;
use uuid::Uuid;

use super::read_account::AccountView;
use crate::Identity;
use crate::allowances::Place;
use crate::client_address::ClientAddress;
use crate::fields::{Name, NewEmail, NewPassword, Password};
use crate::passwords::TURNS;

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Address to sign in with; an account has one of its own.
    email: NewEmail,
    /// Password to sign in with. Letters that Unicode composes in more than one way are the same.
    password: NewPassword,
    /// What the account's owner is called: kept in NFC, without white space at its ends. Control
    /// characters, those that turn the direction of text, and text that shows nothing are refused.
    name: Name,
    /// What the account may do. Both are open to everybody: nobody looks at organisers first.
    #[serde(default = "customer")]
    #[schema(default = "customer")]
    role: Role,
}

fn customer() -> Role {
    Role::Customer
}

/// What makes two sign-ups the same, but for the password: a fast hash of that must not lie in
/// the database.
#[derive(Serialize)]
struct Sameness<'a> {
    email: &'a NewEmail,
    name: &'a Name,
    role: Role,
}

/// Whose keys those of a sign-up are, where there is no account yet: the address's, however it is
/// capitalised. So nobody meets the key that a stranger chose. An id of version 8, which belongs to
/// no account: those are of version 7.
fn keys_of(email: &NewEmail) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(email.as_str().to_ascii_lowercase()).into();
    let half = std::array::from_fn(|at| digest[at]);
    uuid::Builder::from_custom_bytes(half).into_uuid()
}

/// Sign up.
///
/// Makes no session: sign in afterwards. The key is the address's own: with another address it is
/// another key.
#[utoipa::path(
    post,
    path = "/api/identity/accounts",
    operation_id = "create_account",
    tag = "accounts",
    params(Key),
    request_body(content = NewAccount, example = json!({
        "email": "ada@example.org", "password": "correct horse battery", "name": "Ada",
        "role": "customer",
    })),
    responses(
        Answers<{ DOOR | DATABASE | BODY | KEY }>,
        (status = 201, body = AccountView, description = "The account"),
        (status = 409, body = problem::Body, content_type = "application/problem+json", description = "email-taken, busy (with Retry-After)"),
    )
)]
pub(super) async fn create(
    State(identity): State<Identity>,
    key: Key,
    address: ClientAddress,
    Json(request): Json<NewAccount>,
) -> Result<Response, Problem> {
    let NewAccount {
        email,
        password,
        name,
        role,
    } = request;
    let turns_until = Instant::now() + TURNS;
    identity.allowances.take_hash(address).await?;
    // Before the transaction: none stands open while this one waits for its turn to hash.
    let password_hash = identity.passwords.hash(&password, turns_until).await?;
    let operation = Operation {
        account_id: keys_of(&email),
        name: "create_account",
        key: &key,
        request_hash: idempotency::hash(&Sameness {
            email: &email,
            name: &name,
            role,
        })?,
    };
    let (email, name, password_hash) = (email.as_str(), name.as_str(), password_hash.as_str());
    let (operation, accounts) = (&operation, &identity.accounts);
    // Read committed: the unique index decides who gets the address, and waits for the other.
    let begun = transaction::run(
        accounts,
        "create_account",
        Isolation::ReadCommitted,
        async |mut tx| {
            if let Begun::Again(first) = idempotency::begin(&mut tx, operation).await? {
                return tx.done(Err(first));
            }
            let id = Uuid::now_v7();
            let made = sqlx::query!(
                "INSERT INTO accounts (id, email, name, role, password_hash)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                id,
                email,
                name,
                role.as_str(),
                password_hash
            )
            .execute(&mut *tx)
            .await?;
            if made.rows_affected() == 0 {
                return Err(email_taken());
            }
            let view = AccountView {
                id,
                email: email.to_owned(),
                name: name.to_owned(),
                role,
            };
            let answer = Answer::json(StatusCode::CREATED, &view)?.at("/api/identity/accounts/me");
            idempotency::finish(&mut tx, operation, &answer).await?;
            tx.done::<_, Problem>(Ok(answer))
        },
    )
    .await?;
    match begun {
        Ok(answer) => {
            identity
                .allowances
                .signed_up(&Place::of(email, address))
                .await;
            Ok(answer.into_response())
        }
        Err(first) => {
            identity.allowances.take_hash(address).await?;
            same_password(&identity, email, &password.into(), turns_until).await?;
            Ok(first.into_response())
        }
    }
}

/// The rest of what makes two sign-ups the same.
async fn same_password(
    identity: &Identity,
    email: &str,
    password: &Password,
    turns_until: Instant,
) -> Result<(), Problem> {
    let hash = sqlx::query_scalar!(
        "SELECT password_hash FROM accounts WHERE lower(email) = lower($1)",
        email
    )
    .fetch_one(&identity.accounts)
    .await?;
    let check = identity.passwords.check(password, Some(&hash), turns_until);
    if check.await? {
        return Ok(());
    }
    Err(idempotency::reused())
}

fn email_taken() -> Problem {
    Problem::conflict(
        "email-taken",
        "The address has an account",
        "sign in, or use another address",
    )
    .field("email")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sqlx::PgPool;
    use tokio::task::JoinSet;

    use crate::routes::testing::{TestIdentity, ada};

    async fn accounts(pool: &PgPool) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM accounts")
            .fetch_one(pool)
            .await
            .unwrap()
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_repetition_gets_the_first_answer(pool: PgPool) {
        let identity = TestIdentity::open(pool.clone()).await;
        let body = ada();
        let first = identity.sign_up("k", &body).await;
        assert_eq!(first.status, 201, "{}", first.body);
        assert_eq!(
            (&first.body["email"], &first.body["role"]),
            (&body["email"], &json!("customer"))
        );
        assert!(first.body.get("password").is_none() && first.headers.contains_key("location"));
        let again = identity.sign_up("k", &body).await;
        assert_eq!((again.status.as_u16(), &again.body), (201, &first.body));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        for (field, value) in [
            ("name", "Eve"),
            ("role", "organiser"),
            ("password", "another password"),
        ] {
            let mut other = body.clone();
            other[field] = json!(value);
            let refused = identity.sign_up("k", &other).await;
            assert_eq!(refused.status, 422, "{field}");
            assert_eq!(refused.body["type"], "/problems/idempotency-key-reused");
        }
        assert_eq!(accounts(&pool).await, 1);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn a_key_is_its_addresss_own(pool: PgPool) {
        let identity = TestIdentity::open(pool.clone()).await;
        let (ada, mut bob) = (ada(), ada());
        bob["name"] = json!("Bob");
        assert_eq!(identity.sign_up("1", &ada).await.status, 201);
        let other = identity.sign_up("1", &bob).await;
        assert_eq!(other.status, 201, "{}", other.body);
        assert_eq!(other.body["name"], "Bob");
        assert!(!other.headers.contains_key("idempotency-replayed"));
        assert_eq!(accounts(&pool).await, 2);
        let mut shouted = ada.clone();
        shouted["email"] = json!(ada["email"].as_str().unwrap().to_uppercase());
        let refused = identity.sign_up("1", &shouted).await;
        assert_eq!(refused.body["type"], "/problems/idempotency-key-reused");
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn the_same_key_in_parallel_makes_one_account(pool: PgPool) {
        let identity = Arc::new(TestIdentity::open(pool.clone()).await);
        let body = ada();
        let mut asked = JoinSet::new();
        for _ in 0..6 {
            let (identity, body) = (identity.clone(), body.clone());
            asked.spawn(async move { identity.sign_up("k", &body).await });
        }
        let answers = asked.join_all().await;
        for answer in &answers {
            assert_eq!(
                (answer.status.as_u16(), &answer.body),
                (201, &answers[0].body)
            );
        }
        assert_eq!(accounts(&pool).await, 1);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn an_address_has_one_account_however_it_is_capitalised(pool: PgPool) {
        let identity = TestIdentity::open(pool.clone()).await;
        let mut body = ada();
        assert_eq!(identity.sign_up("a", &body).await.status, 201);
        body["email"] = json!(body["email"].as_str().unwrap().to_uppercase());
        let refused = identity.sign_up("b", &body).await;
        assert_eq!(refused.status, 409);
        assert_eq!(refused.body["type"], "/problems/email-taken");
        assert_eq!(
            identity.sign_up("b", &ada()).await.status,
            201,
            "a refusal keeps no key"
        );
        assert_eq!(accounts(&pool).await, 2);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn bad_input_names_its_field_and_changes_nothing(pool: PgPool) {
        let identity = TestIdentity::open(pool.clone()).await;
        for (field, value) in [
            ("email", json!("ada")),
            ("email", json!("a\u{0}@b.c")),
            ("email", json!(1)),
            ("name", json!("")),
            ("name", json!("A\u{0}")),
            ("name", json!("Ada\u{202e}")),
            ("name", json!("\u{200b}")),
            ("email", json!("a..b@c.d")),
            ("email", json!("a@-x.org")),
            ("email", json!("a@1.2")),
            ("password", json!("short")),
            ("password", json!("p".repeat(129))),
            ("role", json!("king")),
            ("more", json!(1)),
        ] {
            let mut body = ada();
            body[field] = value;
            let refused = identity.sign_up("k", &body).await;
            assert_eq!(
                (refused.status.as_u16(), &refused.body["field"]),
                (422, &json!(field))
            );
        }
        assert_eq!(accounts(&pool).await, 0);
    }

    #[sqlx::test]
    #[ignore = "needs the stores: make test"]
    async fn no_password_and_no_fast_hash_of_one_is_kept(pool: PgPool) {
        let identity = TestIdentity::open(pool.clone()).await;
        let (one, mut other) = (ada(), ada());
        other["email"] = one["email"].clone();
        other["password"] = json!("another password");
        identity.sign_up("k", &one).await;
        let kept = async || -> (String, Vec<u8>, Vec<u8>) {
            sqlx::query_as(
                "SELECT password_hash, request_hash, body FROM accounts, idempotency_keys",
            )
            .fetch_one(&pool)
            .await
            .unwrap()
        };
        let (password_hash, request_hash, answer) = kept().await;
        assert!(password_hash.starts_with("$argon2id$"));
        assert!(!String::from_utf8(answer).unwrap().contains("password"));
        sqlx::query("TRUNCATE accounts, idempotency_keys")
            .execute(&pool)
            .await
            .unwrap();
        identity.sign_up("k", &other).await;
        assert_eq!(
            kept().await.1,
            request_hash,
            "the password is no part of the fast hash"
        );
    }
}
