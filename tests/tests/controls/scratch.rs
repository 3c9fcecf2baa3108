//! A scratch database on the test stack's Postgres.

use anyhow::Context;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tests::crowd::run_id;

/// A database for one run, or for one build.
#[derive(Debug)]
pub struct Scratch {
    server: String,
    name: String,
}

impl Scratch {
    /// Makes an empty database on the test stack's Postgres.
    pub async fn new() -> anyhow::Result<Self> {
        let url = std::env::var("DATABASE_URL").context("DATABASE_URL: run `make test`")?;
        let (server, _) = url
            .rsplit_once('/')
            .context("DATABASE_URL names no database")?;
        let scratch = Self {
            server: server.to_owned(),
            name: format!("control_{}", run_id()),
        };
        scratch
            .on_server(&format!("CREATE DATABASE {}", scratch.name))
            .await?;
        Ok(scratch)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs migrations on it.
    pub async fn migrate(&self, migrations: &[String]) -> anyhow::Result<()> {
        let mut database = PgConnection::connect(&self.url()).await?;
        for migration in migrations {
            sqlx::raw_sql(AssertSqlSafe(migration.clone()))
                .execute(&mut database)
                .await?;
        }
        Ok(database.close().await?)
    }

    /// Removes it, whoever is connected.
    pub async fn remove(&self) -> anyhow::Result<()> {
        self.on_server(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        ))
        .await
    }

    async fn on_server(&self, statement: &str) -> anyhow::Result<()> {
        let mut database = PgConnection::connect(&format!("{}/postgres", self.server)).await?;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut database)
            .await?;
        Ok(database.close().await?)
    }

    /// Host, port, user and password.
    pub fn parts(&self) -> anyhow::Result<[String; 4]> {
        let rest = self
            .server
            .split_once("://")
            .map_or(self.server.as_str(), |(_, rest)| rest);
        let (user, place) = rest
            .rsplit_once('@')
            .context("DATABASE_URL names no user")?;
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = place.split_once(':').unwrap_or((place, "5432"));
        Ok([host, port, user, password].map(str::to_owned))
    }
}
