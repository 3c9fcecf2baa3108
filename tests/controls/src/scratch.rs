//! A scratch database on the test stack's Postgres.

use std::time::Duration;

use anyhow::Context;
use crowd::run_id;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

/// How long making or removing a database may take.
const SERVER_BOUND: Duration = Duration::from_secs(30);

/// The test stack's Postgres.
pub fn server() -> anyhow::Result<String> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL: run `make test`")?;
    let (server, _) = url
        .rsplit_once('/')
        .context("DATABASE_URL names no database")?;
    Ok(server.to_owned())
}

/// The same superuser on another host: passwords are those of the stack.
pub fn server_on(host: &str) -> anyhow::Result<String> {
    let server = server()?;
    let (user, _) = server
        .rsplit_once('@')
        .context("DATABASE_URL names no user")?;
    Ok(format!("{user}@{host}:5432"))
}

/// A database for one run.
#[derive(Debug)]
pub struct Scratch {
    server: String,
    name: String,
}

impl Scratch {
    /// Makes an empty database on the test stack's Postgres.
    pub async fn new() -> anyhow::Result<Self> {
        Self::on(server()?).await
    }

    /// Makes one on this server, such as `postgres://user:password@host:5432`.
    pub async fn on(server: String) -> anyhow::Result<Self> {
        let scratch = Self {
            server,
            name: format!("control_{}", run_id()),
        };
        scratch
            .on_server(&format!("CREATE DATABASE {}", scratch.name))
            .await?;
        Ok(scratch)
    }

    /// The same database, on another server that has a copy of it.
    pub fn copy_on(&self, server: String) -> Self {
        Self {
            server,
            name: self.name.clone(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
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
        let done = async {
            let mut database = PgConnection::connect(&format!("{}/postgres", self.server)).await?;
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                .execute(&mut database)
                .await?;
            anyhow::Ok(database.close().await?)
        };
        tokio::time::timeout(SERVER_BOUND, done)
            .await
            .with_context(|| format!("{statement}: not done within {SERVER_BOUND:?}"))?
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
