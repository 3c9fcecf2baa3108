//! What a failure of Postgres means to a client.

use crate::Problem;

impl From<sqlx::Error> for Problem {
    /// A database that is away, full, switching over or too slow is 503; a lock that was not had in
    /// time is 409 with `Retry-After`; anything else is a mistake of ours.
    fn from(error: sqlx::Error) -> Self {
        let problem = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => Self::unavailable("the database"),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Lock not available, lost a deadlock or a serialisation conflict more often than
                // the limit allows.
                Some("55P03" | "40001" | "40P01") => {
                    Self::busy("the rows this request needs are in use")
                }
                // Connection failures, no resources, shutting down, statement cancelled by its
                // time-out, read only after a switch-over, connection ended because its transaction
                // stood idle.
                Some(code)
                    if code.starts_with("08")
                        || code.starts_with("53")
                        || code.starts_with("57P")
                        || code == "57014"
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
    use std::borrow::Cow;
    use std::error::Error;

    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;
    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// A refusal of the database with this code.
    #[derive(Debug)]
    struct Refusal(&'static str);

    impl std::fmt::Display for Refusal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Refusal {}

    impl DatabaseError for Refusal {
        fn message(&self) -> &str {
            self.0
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }
        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn who_waited_for_others_is_told_busy_and_who_waited_for_the_database_unavailable() {
        let told = |code| {
            let problem = Problem::from(sqlx::Error::Database(Box::new(Refusal(code))));
            let slug = problem.slug();
            let answer = problem.into_response();
            (
                answer.status().as_u16(),
                slug,
                answer.headers().contains_key(header::RETRY_AFTER),
            )
        };
        for code in ["55P03", "40001", "40P01"] {
            assert_eq!(told(code), (409, "busy", true), "{code}");
        }
        for code in ["57014", "57P01", "08006", "53300", "25006", "25P03"] {
            assert_eq!(told(code), (503, "unavailable", true), "{code}");
        }
        assert_eq!(told("23505"), (500, "internal", false));
    }

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
