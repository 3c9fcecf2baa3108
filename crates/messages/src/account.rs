//! Who asks: the headers that Nginx sets after its session check.
//!
//! Nginx removes both headers from what clients send, and a service answers nobody but Nginx, which
//! it knows by a key (`service::callers`). So a route may rely on them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use problem::Problem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Header with the account's id.
pub const ACCOUNT_ID: &str = "x-account-id";
/// Header with the account's role.
pub const ACCOUNT_ROLE: &str = "x-account-role";

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys tickets.
    Customer,
    /// Creates events, gets the money, and lets people in at the door.
    Organiser,
}

impl Role {
    /// The role as it stands in headers and databases.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Organiser => "organiser",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "customer" => Ok(Self::Customer),
            "organiser" => Ok(Self::Organiser),
            _ => Err(()),
        }
    }
}

/// The signed-in account behind a request.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The account's id (UUIDv7).
    pub id: Uuid,
    /// Its role.
    pub role: Role,
}

impl Account {
    /// The same account, if it is an organiser's.
    ///
    /// # Errors
    /// 403 for a customer.
    pub fn organiser(self) -> Result<Self, Problem> {
        match self.role {
            Role::Organiser => Ok(self),
            Role::Customer => Err(Problem::forbidden("only organisers may do this")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Account {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let id = text(ACCOUNT_ID).and_then(|text| Uuid::parse_str(text).ok());
        let role = text(ACCOUNT_ROLE).and_then(|text| text.parse().ok());
        match (id, role) {
            (Some(id), Some(role)) => Ok(Self { id, role }),
            _ => Err(Problem::unauthorized(
                "this needs a session: send Authorization: Bearer <token>",
            )),
        }
    }
}
