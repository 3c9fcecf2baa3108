//! The routes: a folder a resource, a file an endpoint.

mod audit;
mod events;
mod holds;
mod ledger;
mod orders;
mod outbox;
mod scans;
mod tickets;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

const DESCRIPTION: &str = "Hold seats, order them, cancel, and let people in at the door. Writes \
    that create something take an Idempotency-Key: the same key again gets the first answer again.";

/// Routes for the world, behind Nginx.
pub fn public(app: App) -> Router {
    let routes = OpenApiRouter::new()
        .routes(routes!(events::list_seats::list_seats))
        .routes(routes!(events::availability::availability))
        .routes(routes!(events::list_settlements::list_settlements))
        .routes(routes!(holds::place::place))
        .routes(routes!(holds::read::read, holds::release::release))
        .routes(routes!(orders::place::place, orders::list::list))
        .routes(routes!(orders::read::read))
        .routes(routes!(orders::cancel::cancel))
        .routes(routes!(orders::give_card::give_card))
        .routes(routes!(orders::list_tickets::list_tickets))
        .routes(routes!(tickets::read_pdf::read_pdf))
        .routes(routes!(scans::admit::admit));
    service::openapi::documented("booking", "Booking", DESCRIPTION, routes).with_state(app)
}

/// Routes for the other processes and for checkers.
pub fn internal(app: App) -> Router {
    OpenApiRouter::new()
        .routes(routes!(events::put::put))
        .routes(routes!(ledger::read::read))
        .routes(routes!(outbox::read::read))
        .routes(routes!(audit::read::read))
        .with_state(app)
        .into()
}
