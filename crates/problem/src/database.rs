//! What a failure of Postgres means to a client.

use axum::http::StatusCode;

use crate::Problem;

impl From<sqlx::Error> for Problem {
    /// A database that is away, full or switching over is 503; a lock that was not had in time is
    /// 409 with `Retry-After`; anything else is a mistake of ours.
    fn from(error: sqlx::Error) -> Self {
        let problem = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => Self::unavailable("the database"),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Lock not available, statement cancelled by its time-out, lost a deadlock or a
                // serialisation conflict more often than the limit allows.
                Some("55P03" | "57014" | "40001" | "40P01") => Self::new(
                    StatusCode::CONFLICT,
                    "busy",
                    "Others are at the same rows",
                    "the rows this request needs are in use; try again with the same Idempotency-Key",
                )
                .retry_after(1),
                // Connection failures, no resources, shutting down, read only after a switch-over,
                // connection ended because its transaction stood idle.
                Some(code)
                    if code.starts_with("08")
                        || code.starts_with("53")
                        || code.starts_with("57P")
                        || code == "25006"
                        || code == "25P03" =>
                {
                    Self::unavailable("the database")
                }
                _ => return Self::internal(error),
            },
            _ => return Self::internal(error),
        };
        problem.cause(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_503_and_a_mistake_is_500() {
        assert_eq!(
            Problem::from(sqlx::Error::PoolTimedOut).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(
            Problem::from(sqlx::Error::RowNotFound).status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }
}
