//! The endpoints of `identity`.

mod check_session;
mod create_account;
mod read_account;
mod sign_in;
mod sign_out;

use axum::Router;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use sign_in::start_metrics;

use crate::Identity;

const DESCRIPTION: &str = "Accounts and sessions. Signing in gives a bearer token; send it as \
    `Authorization: Bearer <token>` with every request that needs a session.";

/// What the world may ask.
pub(crate) fn public(identity: Identity) -> Router {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = ComponentsBuilder::new()
        .security_scheme("session", SecurityScheme::Http(token))
        .build();
    let routes =
        OpenApiRouter::with_openapi(OpenApiBuilder::new().components(Some(components)).build())
            .routes(routes!(create_account::create))
            .routes(routes!(read_account::read))
            .routes(routes!(sign_in::sign_in))
            .routes(routes!(sign_out::sign_out));
    service::openapi::documented("identity", "Identity", DESCRIPTION, routes).with_state(identity)
}

/// What only Nginx asks.
pub(crate) fn internal(identity: Identity) -> Router {
    Router::new()
        .route("/internal/session", get(check_session::check))
        .with_state(identity)
}

#[cfg(test)]
mod testing;
