//! The last run of each task: kept in memory by the leader, and told to the other replicas by way
//! of the database every few seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use leader::Term;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use transaction::Isolation;

use super::{Failure, Task};
use crate::fence;

/// How often the leader tells the other replicas.
const EVERY: Duration = Duration::from_secs(5);

/// The runs of a task in the present term.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    /// When a run last ended well.
    pub last_success: Option<DateTime<Utc>>,
    /// What went wrong last, and when; absent if nothing did.
    pub last_error: Option<LastError>,
    /// How many runs there were.
    pub runs: u64,
    /// How long the last one took.
    pub last_seconds: f64,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastError {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub reason: String,
}

/// The statuses of all tasks. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<&'static str, Status>>>);

impl Statuses {
    /// Notes a run that ended well.
    pub fn succeeded(&self, task: &'static str, took: Duration) {
        let mut all = self.all();
        let status = all.entry(task).or_default();
        status.runs += 1;
        status.last_seconds = took.as_secs_f64();
        status.last_success = Some(Utc::now());
    }

    /// Notes a run that failed.
    pub fn failed(&self, task: &'static str, took: Duration, reason: &str) {
        let mut all = self.all();
        let status = all.entry(task).or_default();
        status.runs += 1;
        status.last_seconds = took.as_secs_f64();
        status.last_error = Some(LastError {
            at: Utc::now(),
            reason: reason.chars().take(300).collect(),
        });
    }

    /// Notes a failure of work that a run began and did not wait for.
    pub fn failed_beside(&self, task: &'static str, reason: &str) {
        let error = LastError {
            at: Utc::now(),
            reason: reason.chars().take(300).collect(),
        };
        self.all().entry(task).or_default().last_error = Some(error);
    }

    /// Forgets everything: a new term begins.
    pub fn clear(&self) {
        self.all().clear();
    }

    /// All of them by task.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<&'static str, Status> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the statuses to where the other replicas read them.
#[derive(Debug)]
pub struct Report {
    pool: PgPool,
    statuses: Statuses,
}

impl Report {
    /// Reports `statuses`.
    #[must_use]
    pub fn new(pool: PgPool, statuses: Statuses) -> Self {
        Self { pool, statuses }
    }
}

impl Task for Report {
    fn name(&self) -> &'static str {
        "report"
    }

    async fn run(&self, term: &Term) -> Result<Duration, Failure> {
        let mut names = Vec::new();
        let mut reports = Vec::new();
        for (name, status) in self.statuses.snapshot() {
            names.push(name.to_owned());
            reports.push(serde_json::to_value(status).map_err(|e| sqlx::Error::Encode(e.into()))?);
        }
        let (token, names, reports) = (term.token(), &names, &reports);
        // Read committed: the fence's row is locked before anything is written.
        transaction::run(
            &self.pool,
            "report tasks",
            Isolation::ReadCommitted,
            |mut tx| async move {
                fence::check(&mut tx, token).await?;
                sqlx::query!(
                    "INSERT INTO leader_tasks (task, fence_token, report)
                SELECT told.task, $3, told.report
                FROM unnest($1::text[], $2::jsonb[]) AS told (task, report)
                ON CONFLICT (task) DO UPDATE SET
                    fence_token = excluded.fence_token, report = excluded.report",
                    names,
                    reports,
                    token,
                )
                .execute(&mut *tx)
                .await?;
                tx.done::<_, Failure>(())
            },
        )
        .await?;
        Ok(EVERY)
    }
}

/// What the leader last told of its tasks, by task.
///
/// # Errors
/// The database was away.
pub async fn told(pool: &PgPool) -> Result<BTreeMap<String, Status>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT task, report AS "report!" FROM leader_tasks WHERE report IS NOT NULL"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((row.task, serde_json::from_value(row.report).ok()?)))
        .collect())
}
