//! What a failure of DynamoDB means to a client.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use problem::Problem;

/// Throttling and refusals that pass by themselves.
const PASSING: [&str; 6] = [
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "InternalServerError",
];

/// 503: the store does not answer, or is not asked because it did not a moment ago.
pub fn away() -> Problem {
    Problem::unavailable("the store of events")
}

/// Whether the store did not answer, or said that it is not well. One that throttles is there.
pub fn is_away<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            true
        }
        SdkError::ServiceError(refusal) => refusal.raw().status().is_server_error(),
        _ => false,
    }
}

/// A store that is away or has its hands full is 503; anything else is a mistake of ours.
pub fn of<E>(error: SdkError<E, HttpResponse>) -> Problem
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let passes = || {
        let code = error.as_service_error().and_then(|refusal| refusal.code());
        code.is_some_and(|code| PASSING.contains(&code))
    };
    if is_away(&error) || passes() {
        away().cause(error)
    } else {
        Problem::internal(error)
    }
}
