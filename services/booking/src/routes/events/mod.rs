//! Events on sale: their seats and who gets the money.

pub mod availability;
pub mod list_seats;
pub mod list_settlements;
pub mod put;

use problem::Problem;

/// 404 for an event that is not on sale.
pub(super) fn unknown() -> Problem {
    Problem::not_found("no such event is on sale")
}

/// 409 for an event whose start has passed: nothing of it is sold any more.
pub(super) fn began() -> Problem {
    Problem::conflict(
        "event-began",
        "The event has begun",
        "seats are held, ordered and paid before the event begins",
    )
}
