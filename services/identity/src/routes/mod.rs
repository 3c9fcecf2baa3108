//! The endpoints of `identity`.

mod check_session;
mod create_account;
mod read_account;
mod sign_in;
mod sign_out;

use axum::Router;
use axum::routing::get;
use service::openapi::{Document, Operations};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use sign_in::start_metrics;

use crate::Identity;

const DOCUMENT: Document<'_> = Document {
    name: "identity",
    title: "Identity",
    description: "Accounts and sessions. Signing in gives a bearer token; send it as \
        `Authorization: Bearer <token>` with every request that needs a session. The demo data has \
        the customers alice@boxoffice.example and bob@boxoffice.example and the organiser \
        demo-organiser@boxoffice.example; the password of each is demo-password.",
    tags: &[
        ("sessions", "Signing in and out."),
        ("accounts", "Who buys, and who organises."),
    ],
    operations: Operations::AtTheEdge,
};

/// What the world may ask.
pub(crate) fn public(identity: Identity) -> Router {
    service::openapi::documented(DOCUMENT, routes()).with_state(identity)
}

fn routes() -> OpenApiRouter<Identity> {
    service::openapi::with_sessions()
        .routes(routes!(create_account::create))
        .routes(routes!(read_account::read))
        .routes(routes!(sign_in::sign_in))
        .routes(routes!(sign_out::sign_out))
}

/// What only Nginx asks.
pub(crate) fn internal(identity: Identity) -> Router {
    Router::new()
        .route("/internal/session", get(check_session::check))
        .with_state(identity)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_documents_what_it_may_answer() {
        let document = serde_json::to_value(routes().split_for_parts().1).unwrap();
        let operation = |path: &str, method: &str| {
            let answers = &document["paths"][path][method]["responses"];
            let statuses = answers.as_object().unwrap().keys();
            statuses.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            operation("/api/identity/accounts", "post"),
            "201 400 408 409 413 414 415 422 429 431 500 503"
        );
        assert_eq!(
            operation("/api/identity/accounts/me", "get"),
            "200 400 401 408 409 413 414 429 431 500 503"
        );
        assert_eq!(
            operation("/api/identity/sessions", "post"),
            "201 400 401 408 409 413 414 415 422 429 431 500 503"
        );
        assert_eq!(
            operation("/api/identity/sessions/current", "delete"),
            "204 400 401 408 413 414 429 431 500 503"
        );
    }

    #[test]
    fn the_document_lacks_nothing() {
        // It panics where it does.
        let _: Router<Identity> = service::openapi::documented(DOCUMENT, routes());
    }
}
