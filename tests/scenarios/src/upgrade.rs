//! Programs on a database that a newer version has migrated: in the middle of a rolling upgrade, and
//! after a rollback.

use std::time::Duration;

use crate::light_load::{Person, under_light_load};
use crate::stack::{eventually, superuser_of};
use crate::stops::stops_in_time;

/// A service whose database is migrated, and what its newer version adds: what it adds first in an
/// upgrade, and what the scenario takes away in the end.
const NEWER: [Newer; 2] = [
    Newer {
        service: "identity",
        expand: "ALTER TABLE accounts ADD COLUMN IF NOT EXISTS of_a_newer_version text",
        undo: "ALTER TABLE accounts DROP COLUMN IF EXISTS of_a_newer_version",
    },
    Newer {
        service: "booking",
        expand: "ALTER TABLE orders ADD COLUMN IF NOT EXISTS of_a_newer_version text",
        undo: "ALTER TABLE orders DROP COLUMN IF EXISTS of_a_newer_version",
    },
];

/// As sqlx records a migration.
const RECORD: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9999, 'of a newer version', true, '\\x00', 0) ON CONFLICT DO NOTHING";
const FORGET: &str = "DELETE FROM _sqlx_migrations WHERE version = 9999";

/// A migration waits no longer than this for its table: requests that come after it wait behind it.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '100ms'";

/// How long a migration may take that meets requests.
const MIGRATED_WITHIN: Duration = Duration::from_secs(10);

struct Newer {
    service: &'static str,
    expand: &'static str,
    undo: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test stack: make test"]
async fn replicas_restart_on_the_schema_of_a_newer_version_while_customers_buy()
-> anyhow::Result<()> {
    for newer in NEWER {
        let done = under_light_load(Person::Buys, async |hall| {
            migrate(newer.service, [newer.expand, RECORD]).await?;
            stops_in_time(hall, newer.service).await
        })
        .await;
        migrate(newer.service, [newer.undo, FORGET]).await?;
        done?;
    }
    Ok(())
}

/// Changes the database of a service, which is named like it.
async fn migrate(service: &str, statements: [&'static str; 2]) -> anyhow::Result<()> {
    eventually(MIGRATED_WITHIN, "the database is migrated", async || {
        let mut database = superuser_of(service).await?;
        sqlx::query(LOCK_TIMEOUT).execute(&mut database).await?;
        for statement in statements {
            sqlx::query(statement).execute(&mut database).await?;
        }
        Ok(Some(()))
    })
    .await
}
