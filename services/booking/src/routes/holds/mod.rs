//! Holds: seats kept for a customer for a short time.

pub mod place;
pub mod read;
pub mod release;

use problem::Problem;

/// 404 for a hold that is not there or another customer's.
fn unknown() -> Problem {
    Problem::not_found("you have no such hold")
}
