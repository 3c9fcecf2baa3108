//! `GET /api/worker/status`: who leads, since when, with which token, and the last run of each
//! task. Every replica answers it.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use leader::Leader;
use problem::extract::Json;
use problem::openapi::{Answers, DOOR};
use serde::Serialize;

use super::App;
use crate::tasks::status::{self, Status};

/// How long the leader's report may take: less than a read may, which does without it.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a worker knows of the leader and its tasks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// The replica that answers.
    replica: String,
    /// Whether it is the one that leads.
    leading: bool,
    /// Who leads; absent while nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<Leading>,
    /// The leader's tasks by name: from itself at once, from the others a few seconds old.
    tasks: Vec<TaskStatus>,
}

/// Who leads.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Leading {
    /// The replica's name.
    name: String,
    /// The fencing token of its term.
    token: i64,
    /// When its term began.
    since: DateTime<Utc>,
}

/// How a task runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskStatus {
    /// The task.
    #[schema(example = "relay-payments")]
    name: String,
    /// Its runs.
    #[serde(flatten)]
    status: Status,
}

/// Read who leads and how its tasks run.
///
/// Every replica answers. What it tells of the tasks is the leader's own word, some seconds old where
/// another replica answers.
#[utoipa::path(
    get,
    path = "/api/worker/status",
    operation_id = "read_status",
    tag = "status",
    responses(
        Answers<{ DOOR }>,
        (status = 200, description = "Who leads and how its tasks run.", body = Answer),
    )
)]
pub async fn status(State(app): State<App>) -> Json<Answer> {
    let leader = app.leader.borrow().clone();
    let leading = leader
        .as_ref()
        .is_some_and(|leader| leader.name == app.replica);
    let tasks = tasks(&app, leading).await;
    Json(Answer {
        leading,
        leader: leader.map(Leading::from),
        tasks,
        replica: app.replica,
    })
}

async fn tasks(app: &App, leading: bool) -> Vec<TaskStatus> {
    let named = |name: &str, status| TaskStatus {
        name: name.to_owned(),
        status,
    };
    if leading {
        let own = app.statuses.snapshot();
        return own
            .into_iter()
            .map(|(name, status)| named(name, status))
            .collect();
    }
    match tokio::time::timeout(REPORT_TIMEOUT, status::told(&app.pool)).await {
        Ok(Ok(told)) => told
            .into_iter()
            .map(|(name, status)| named(&name, status))
            .collect(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the leader's report could not be read");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!("the leader's report could not be read in time");
            Vec::new()
        }
    }
}

impl From<Leader> for Leading {
    fn from(leader: Leader) -> Self {
        Self {
            name: leader.name,
            token: leader.token,
            since: leader.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_knows_no_leader_says_nothing_of_one() {
        let answer = Answer {
            replica: "a".to_owned(),
            leading: false,
            leader: None,
            tasks: vec![TaskStatus {
                name: "sweep".to_owned(),
                status: Status::default(),
            }],
        };
        let json = serde_json::to_value(answer).unwrap();
        assert!(json.get("leader").is_none());
        assert_eq!(json["tasks"][0]["name"], "sweep");
        assert_eq!(json["tasks"][0]["runs"], 0);
    }
}
