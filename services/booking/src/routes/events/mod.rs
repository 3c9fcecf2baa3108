//! Events on sale: their seats and who gets the money.

pub mod availability;
pub mod list_seats;
pub mod list_settlements;
pub mod put;

use problem::Problem;

/// 404 for an event that is not on sale.
fn unknown() -> Problem {
    Problem::not_found("no such event is on sale")
}
