//! The answer of a request that carries an `Idempotency-Key`.

use axum::response::{IntoResponse, Response};
use idempotency::{Answer, Repeated};
use problem::Problem;

/// What the request comes to.
#[derive(Debug)]
pub enum Reply {
    /// The effect was made now.
    First(Answer),
    /// It was made before: the first answer again.
    Again(Repeated),
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::First(answer) => answer.into_response(),
            Self::Again(repeated) => repeated.into_response(),
        }
    }
}

/// How a request ended, for a metric: one of a fixed set.
pub fn result(outcome: &Result<Reply, Problem>) -> &'static str {
    match outcome {
        Ok(Reply::First(_)) => "placed",
        Ok(Reply::Again(_)) => "repeated",
        Err(problem) => problem.slug(),
    }
}
