//! Who may call: a process answers a caller that shows the key of its own.
//!
//! A connection from within proves nothing. Each pair of a caller and a process that it calls has a
//! key of its own (`deploy/secrets/make-secrets.sh`). So a process that was broken into can ask what
//! it may ask anyway, and nothing in the name of another.

use std::fmt;
use std::str::FromStr;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use problem::Problem;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Secret;

/// Header with the caller's key. Nginx overwrites what a client sends in it
/// (`deploy/nginx/conf/proxy.conf`).
pub const CALLER_KEY: &str = "x-caller-key";

/// A key that a caller has to show, kept as its SHA-256.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// The key with this text.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether `shown` is the key. The time it takes tells nothing of where they differ.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.as_slice().ct_eq(shown.as_slice()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl FromStr for Key {
    type Err = String;

    /// Reads the key from the file at `path`.
    fn from_str(path: &str) -> Result<Self, String> {
        Ok(Self::new(path.parse::<Secret>()?.reveal()))
    }
}

/// These routes for the caller with this key. A request without it is answered with 403, and none of
/// the routes sees it.
pub fn only(caller: &Key, routes: Router) -> Router {
    let caller = caller.clone();
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let shown = request.headers().get(CALLER_KEY);
        let is_caller = shown.is_some_and(|key| caller.is(key.as_bytes()));
        async move {
            if is_caller {
                next.run(request).await
            } else {
                refused()
            }
        }
    }))
}

fn refused() -> Response {
    Problem::forbidden("only a caller whose key is known here is answered")
        .cause("a call without the key of its caller")
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_call_is_answered_with_the_key_of_its_caller_alone() {
        let (nginx, crowd) = (Key::new("of Nginx"), Key::new("of the crowd"));
        let routes = only(&nginx, Router::new().route("/seats", get(async || "free")))
            .merge(only(
                &crowd,
                Router::new().route("/ledger", get(async || "0")),
            ))
            .route("/livez", get(async || "alive"));
        let ask = async |path: &str, keys: &[&str]| {
            let mut request = Request::get(path);
            for key in keys {
                request = request.header(CALLER_KEY, *key);
            }
            // What Nginx alone may say.
            let request = request.header("x-account-role", "organiser");
            let request = request.body(Body::empty()).unwrap();
            routes.clone().oneshot(request).await.unwrap()
        };
        assert_eq!(ask("/seats", &["of Nginx"]).await.status(), StatusCode::OK);
        assert_eq!(
            ask("/ledger", &["of the crowd"]).await.status(),
            StatusCode::OK
        );
        assert_eq!(ask("/livez", &[]).await.status(), StatusCode::OK);
        let wrong: [(&str, &[&str]); 7] = [
            ("/seats", &[]),
            ("/seats", &[""]),
            ("/seats", &["of nginx"]),
            ("/seats", &["of the crowd"]),
            ("/seats", &["wrong", "of Nginx"]),
            ("/ledger", &[]),
            ("/ledger", &["of Nginx"]),
        ];
        for (path, keys) in wrong {
            let refused = ask(path, keys).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path} {keys:?}");
            assert_eq!(
                refused.headers()["content-type"],
                "application/problem+json",
                "{path} {keys:?}"
            );
        }
    }

    #[test]
    fn a_key_never_shows_itself() {
        assert_eq!(format!("{:?}", Key::new("hunter2")), "Key(…)");
    }
}
