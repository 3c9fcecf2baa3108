//! `identity` over real stores, asked through its routers.
//!
//! `DATABASE_URL` names a Postgres where databases may be made; `REDIS_SENTINELS` and
//! `REDIS_PASSWORD_FILE` name the Redis nodes.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use sentinel::Watched;
use serde_json::{Value, json};
use service::Secret;
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use crate::Identity;
use crate::allowances::Allowances;
use crate::client_address::{self, ClientAddress};
use crate::passwords::Passwords;
use crate::sessions::{Most, Sessions};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// What an answer says.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// `identity` with a database of the test's own.
pub(super) struct TestIdentity {
    public: Router,
    internal: Router,
    pub(super) sessions: Sessions,
    /// The address that requests come from, where none is named. No other test uses it.
    pub(super) home: String,
}

impl TestIdentity {
    pub(super) async fn open(accounts: PgPool) -> Self {
        let sessions = sessions(&std::env::var("REDIS_SENTINELS").unwrap());
        assert!(sessions.ready().await, "no primary of Redis was found");
        Self::with(accounts, sessions)
    }

    pub(super) fn with(accounts: PgPool, sessions: Sessions) -> Self {
        Self::hashing(accounts, sessions, crate::PASSWORD_HASHES_PER_SECOND)
    }

    /// Where a client's address may cost so many hashes a second.
    pub(super) fn hashing(accounts: PgPool, sessions: Sessions, per_second: u32) -> Self {
        let passwords = Passwords::new().unwrap();
        let identity = Identity {
            accounts,
            allowances: Allowances::at(sessions.primary().clone(), per_second),
            passwords,
            sessions: sessions.clone(),
        };
        let (public, internal) = (super::public(identity.clone()), super::internal(identity));
        Self {
            public,
            internal,
            sessions,
            home: some_address(),
        }
    }

    pub(super) async fn sign_up(&self, key: &str, body: &Value) -> Said {
        self.sign_up_from(&self.home, key, body).await
    }

    pub(super) async fn sign_up_from(&self, address: &str, key: &str, body: &Value) -> Said {
        let request = Request::post("/api/identity/accounts")
            .header(client_address::HEADER, address)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        said(&self.public, request).await
    }

    pub(super) async fn sign_in(&self, email: &str, password: &str) -> Said {
        self.sign_in_from(&self.home, email, password).await
    }

    pub(super) async fn sign_in_from(&self, address: &str, email: &str, password: &str) -> Said {
        let body = json!({"email": email, "password": password});
        let request = Request::post("/api/identity/sessions")
            .header(client_address::HEADER, address)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        said(&self.public, request).await
    }

    pub(super) async fn sign_out(&self, token: &str) -> Said {
        let request = Request::delete("/api/identity/sessions/current")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        said(&self.public, request).await
    }

    /// Asks as Nginx does.
    pub(super) async fn check(&self, authorization: Option<&str>) -> Said {
        let mut request = Request::get("/internal/session");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        said(&self.internal, request.body(Body::empty()).unwrap()).await
    }

    /// Asks who I am, with the headers that a session check came to.
    pub(super) async fn me(&self, checked: &HeaderMap) -> Said {
        let mut request = Request::get("/api/identity/accounts/me")
            .body(Body::empty())
            .unwrap();
        *request.headers_mut() = checked.clone();
        said(&self.public, request).await
    }
}

/// Sessions in the Redis nodes that these sentinels watch.
pub(crate) fn sessions(sentinels: &str) -> Sessions {
    let most = Most {
        in_all: crate::MOST_SESSIONS,
        at_address: crate::SESSIONS_PER_ADDRESS,
    };
    sessions_up_to(most, sentinels)
}

/// The same, with room for so many. All tests share the nodes, and their sessions.
pub(crate) fn sessions_up_to(most: Most, sentinels: &str) -> Sessions {
    let password: Secret = std::env::var("REDIS_PASSWORD_FILE")
        .unwrap()
        .parse()
        .unwrap();
    let sentinels = sentinels.split(',').map(|address| address.parse().unwrap());
    let watched = Watched {
        sentinels: &sentinels.collect::<Vec<_>>(),
        name: "boxoffice",
        password: password.reveal(),
    };
    Sessions::open(&watched, most)
}

/// An address that no other test uses: all allowances are kept in one Redis.
pub(super) fn some_address() -> String {
    let [a, b, c]: [u16; 3] = rand::random();
    format!("fd00:{a:x}:{b:x}:{c:x}::1")
}

/// A client at such an address.
pub(crate) fn some_client() -> ClientAddress {
    some_address().parse::<IpAddr>().unwrap().into()
}

/// A new account's body, with an address that no other test uses.
pub(super) fn ada() -> Value {
    let email = format!("Ada.{}@example.org", Uuid::now_v7().simple());
    json!({"email": email, "password": PASSWORD, "name": "Ada"})
}

async fn said(router: &Router, request: Request<Body>) -> Said {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Said {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}
