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

/// A store that is away or has its hands full is 503; anything else is a mistake of ours.
pub fn of<E>(error: SdkError<E, HttpResponse>) -> Problem
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let passes = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            true
        }
        SdkError::ServiceError(refusal) => {
            refusal.raw().status().is_server_error()
                || refusal
                    .err()
                    .code()
                    .is_some_and(|code| PASSING.contains(&code))
        }
        _ => false,
    };
    if passes {
        Problem::unavailable("the store of events").cause(error)
    } else {
        Problem::internal(error)
    }
}
