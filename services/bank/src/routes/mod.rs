//! The bank's endpoints.
//!
//! All of `/v1` asks for the API key; only the API's own description is open.

mod balance;
mod cancellations;
mod charges;
mod movements;
mod payouts;
mod refunds;

use axum::Router;
use axum::middleware;
use service::openapi::{Document, Operations};
use utoipa_axum::routes;

use crate::access;
use crate::clearing::Bank;

const DOCUMENT: Document<'_> = Document {
    name: "bank",
    title: "Bank",
    description: "A sandbox payment provider. How it behaves is written in the number of the card \
        or account: 4242424242424242 is fine, 4000000000000002 is declined, 4000000000000119 fails \
        once a key, 4000000000000127 loses the answer once a key, 4000000000000259 takes 2 s, \
        4000000000000267 takes 8 s, 4000000000000341 never answers; every other number is \
        declined. A refund behaves as the card of its charge.",
    tags: &[
        ("movements", "Money that moves: charges, refunds, payouts."),
        ("books", "What has moved so far."),
    ],
    operations: Operations::Inside("http://bank:8080"),
};

/// Everything that the bank answers.
pub(crate) fn router(bank: Bank) -> Router {
    let routes = service::openapi::with_bearer("api_key", "The API key of a caller.")
        .routes(routes!(charges::charge))
        .routes(routes!(cancellations::cancel))
        .routes(routes!(refunds::refund))
        .routes(routes!(payouts::pay_out))
        .routes(routes!(movements::list))
        .routes(routes!(balance::read))
        .route_layer(middleware::from_fn_with_state(
            bank.clone(),
            access::checked,
        ));
    service::openapi::documented(DOCUMENT, routes).with_state(bank)
}

#[cfg(test)]
mod testing;
