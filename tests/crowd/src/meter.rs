//! The crowd's metrics, for Prometheus.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};

use client::history::{Outcome, Record};

static OPERATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_int_counter_vec!(
        "crowd_operations_total",
        "Attempts of the crowd by operation and outcome; those that ended with a 5xx or a 429 also \
         by the kind of problem and by who answered.",
        &["operation", "outcome", "problem", "answered_by"]
    )
    .expect("metric names are unique");
    metric
});

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a clash of metric names is a mistake in the program
    let metric = register_histogram_vec!(
        "crowd_operation_seconds",
        "Time from asking to the answer, as the crowd saw it.",
        &["operation"],
        vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
        ]
    )
    .expect("metric names are unique");
    metric
});

/// Counts one attempt.
pub(super) fn count(record: &Record) {
    let outcome = match &record.outcome {
        Outcome::Answered {
            status: 200..300, ..
        } => "ok",
        Outcome::Answered { status: 500.., .. } => "failed",
        Outcome::Answered { .. } => "refused",
        Outcome::Unknown { .. } => "no_answer",
    };
    let operation = record.operation.as_str();
    let (problem, answered_by) = error_of(record).unwrap_or_default();
    OPERATIONS
        .with_label_values(&[operation, outcome, problem, answered_by])
        .inc();
    SECONDS
        .with_label_values(&[operation])
        .observe(record.elapsed().as_secs_f64());
}

/// The kind of problem that an attempt ended with and who answered, `None` where it belongs to the
/// trade. Few words, whatever the answer says: each of them is a time series of each operation.
fn error_of(record: &Record) -> Option<(&'static str, &'static str)> {
    let Outcome::Answered {
        status: 429 | 500..,
        body,
        ..
    } = &record.outcome
    else {
        return None;
    };
    let Some(problem) = record.problem() else {
        return Some(("other", "unknown"));
    };
    let problem = match problem {
        "unavailable" => "unavailable",
        "internal" => "internal",
        "too-many-requests" => "too-many-requests",
        _ => "other",
    };
    // Nginx puts the request's id into the problems that it makes itself, services do not.
    let answered_by = if body.get("request_id").is_some() {
        "nginx"
    } else {
        "service"
    };
    Some((problem, answered_by))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::Utc;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use client::{Answer, Ask, Operation};

    fn answered(status: u16, body: Value) -> Record {
        let ask = Ask::get(Operation::ReadOrder, "/x");
        let answer = Ok(Answer {
            status,
            body,
            ..Answer::default()
        });
        let elapsed = Duration::from_millis(3);
        Record::new(Uuid::nil(), &ask, 0, Utc::now(), elapsed, &answer)
    }

    /// Nginx's own answer with this status, as it stands in its configuration.
    fn of_nginx(status: u16) -> Record {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/nginx/conf/problems.conf"
        );
        let configuration = std::fs::read_to_string(file).unwrap();
        let begin = format!("return {status} '");
        let (_, rest) = configuration.split_once(&begin).unwrap();
        let (body, _) = rest.split_once("';").unwrap();
        answered(status, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn an_error_is_told_by_its_problem_and_by_who_answered() {
        let of_service =
            |status, kind: &str| answered(status, json!({"type": format!("/problems/{kind}")}));
        for (record, wanted) in [
            (of_nginx(503), ("unavailable", "nginx")),
            (of_nginx(429), ("too-many-requests", "nginx")),
            (of_service(503, "unavailable"), ("unavailable", "service")),
            (of_service(500, "internal"), ("internal", "service")),
            (of_service(500, "brand-new"), ("other", "service")),
            (answered(502, Value::Null), ("other", "unknown")),
        ] {
            assert_eq!(error_of(&record), Some(wanted), "{record:?}");
        }
        for record in [
            answered(200, Value::Null),
            of_nginx(401),
            of_service(409, "sold-out"),
        ] {
            assert_eq!(error_of(&record), None, "{record:?}");
        }
    }

    #[test]
    fn an_attempt_is_counted_under_all_its_labels() {
        let labels = ["read_order", "failed", "unavailable", "nginx"];
        let before = OPERATIONS.with_label_values(&labels).get();
        count(&of_nginx(503));
        assert!(OPERATIONS.with_label_values(&labels).get() > before);
    }
}
