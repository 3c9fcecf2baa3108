//! `Idempotency-Key` for handlers that write to Postgres.
//!
//! The key (per account and operation), a hash of the request and the answer commit **in the same
//! transaction as the effect**, so there is no moment at which one is there without the other.
//! A repetition gets the first answer, byte for byte; the same key with another request is refused
//! with 422; a repetition that meets the first one under way waits for it, as long as a lock may
//! be waited for, and then gets its answer. A failure (4xx of the handler, 5xx) rolls the key back
//! with everything else, so it stores nothing.
//!
//! The table is the service's own (its migrations make it, see [`TABLE`]); rows are kept for
//! [`KEEP`] and pruned by [`prune`]. Modelled on the IETF draft "The Idempotency-Key HTTP Header
//! Field".

mod key;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

pub use key::Key;

/// How long a key is remembered.
pub const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Most keys that one call of [`prune`] forgets.
pub const PRUNE_BATCH: u16 = 1000;

/// What a service's migrations have to make.
pub const TABLE: &str = "CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint,
    location text,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, operation, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);";

/// An answer that can be kept: status, `Location`, JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with `body` as JSON.
    ///
    /// # Errors
    /// The body cannot be written as JSON, which is a mistake of ours.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        Ok(Self {
            status,
            location: None,
            body,
        })
    }

    /// An answer that was kept in a store of the caller's own.
    #[must_use]
    pub fn from_parts(status: StatusCode, location: Option<String>, body: Vec<u8>) -> Self {
        Self {
            status,
            location,
            body,
        }
    }

    /// Status, `Location` and body, to be kept in a store of the caller's own.
    #[must_use]
    pub fn parts(&self) -> (StatusCode, Option<&str>, &[u8]) {
        (self.status, self.location.as_deref(), &self.body)
    }

    /// Says where what was created can be read.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(location) = self
            .location
            .and_then(|text| HeaderValue::try_from(text).ok())
        {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// What [`begin`] found.
#[derive(Debug)]
pub enum Begun {
    /// The key is new: make the effect, then [`finish`] in the same transaction.
    First,
    /// The key has been answered: send this.
    Again(Repeated),
}

/// The answer of an earlier request with the same key, marked by the header
/// `Idempotency-Replayed: true`.
#[derive(Debug)]
pub struct Repeated(pub Answer);

impl IntoResponse for Repeated {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.headers_mut().insert(
            HeaderName::from_static("idempotency-replayed"),
            HeaderValue::from_static("true"),
        );
        response
    }
}

/// The request a key stands for.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Whose key it is.
    pub account_id: Uuid,
    /// What is asked, e.g. `place_order`.
    pub name: &'static str,
    /// The client's key.
    pub key: &'a Key,
    /// Hash of the request by [`hash`].
    pub request_hash: [u8; 32],
}

/// Hashes what makes a request the same: path parameters and body, as parsed.
///
/// # Errors
/// The parts cannot be written as JSON, which is a mistake of ours.
pub fn hash(parts: &impl Serialize) -> Result<[u8; 32], Problem> {
    let text = serde_json::to_vec(parts).map_err(Problem::internal)?;
    Ok(Sha256::digest(text).into())
}

/// 422: the key came with another request before.
#[must_use]
pub fn reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The key belongs to another request",
        "this Idempotency-Key came with a different request before; use a new one",
    )
    .field("Idempotency-Key")
}

/// Takes the key, first statement of the transaction that makes the effect.
///
/// Isolation: read committed. The insert waits for a transaction that holds the same key, up to
/// the lock time-out; when that one commits, this one finds its row.
///
/// # Errors
/// 422 where the key came with another request; 409 where the first one takes longer than a lock
/// may be waited for.
pub async fn begin(tx: &mut PgConnection, operation: &Operation<'_>) -> Result<Begun, Problem> {
    // Checked at run time: the table is that of whichever service calls.
    let inserted = sqlx::query(
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(operation.account_id)
    .bind(operation.name)
    .bind(operation.key.as_str())
    .bind(operation.request_hash.as_slice())
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Begun::First);
    }
    let row = sqlx::query(
        "SELECT request_hash, status, location, body FROM idempotency_keys
         WHERE account_id = $1 AND operation = $2 AND key = $3",
    )
    .bind(operation.account_id)
    .bind(operation.name)
    .bind(operation.key.as_str())
    .fetch_optional(tx)
    .await?;
    // It stood there a moment ago, and was pruned since: it was a day old.
    let row = row.ok_or_else(|| Problem::busy("the key was a day old and was just forgotten"))?;
    if row.try_get::<Vec<u8>, _>("request_hash")? != operation.request_hash {
        return Err(reused());
    }
    let status: Option<i16> = row.try_get("status")?;
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Problem::internal("an idempotency key was committed without its answer"))?;
    Ok(Begun::Again(Repeated(Answer {
        status,
        location: row.try_get("location")?,
        body: row
            .try_get::<Option<Vec<u8>>, _>("body")?
            .unwrap_or_default(),
    })))
}

/// Stores the answer, last statement of the transaction that makes the effect.
///
/// # Errors
/// Failures of the database.
pub async fn finish(
    tx: &mut PgConnection,
    operation: &Operation<'_>,
    answer: &Answer,
) -> Result<(), Problem> {
    sqlx::query(
        "UPDATE idempotency_keys SET status = $4, location = $5, body = $6
         WHERE account_id = $1 AND operation = $2 AND key = $3",
    )
    .bind(operation.account_id)
    .bind(operation.name)
    .bind(operation.key.as_str())
    .bind(i16::try_from(answer.status.as_u16()).unwrap_or(i16::MAX))
    .bind(answer.location.as_deref())
    .bind(answer.body.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets up to [`PRUNE_BATCH`] keys that are older than [`KEEP`]; returns how many. The age is counted
/// by `now()`, which an index can serve; `clock_timestamp()` is volatile, and cannot.
///
/// # Errors
/// Failures of the database.
pub async fn prune(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM idempotency_keys
             WHERE created_at < now() - make_interval(secs => $1)
             ORDER BY created_at LIMIT $2))",
    )
    .bind(KEEP.as_secs_f64())
    .bind(i64::from(PRUNE_BATCH))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
