//! Whether the script for pgbench is what booking really sends.
//!
//! Queries that are checked at compile time stand in `.sqlx`, word for word. Those of the crate
//! `idempotency` are checked at run time and stand in its source only.

use std::path::{Path, PathBuf};

use super::STATEMENTS;

const CUSTOMER: &str = "lpad(to_hex(:a::bigint), 32, '0')::uuid";
const HOLD: &str = "lpad(to_hex(:b::bigint), 32, '0')::uuid";
const ORDER: &str = "lpad(to_hex(:c::bigint), 32, '0')::uuid";
const HOLD_KEY: &str = ":b::bigint::text";
const ORDER_KEY: &str = ":c::bigint::text";
const EVENT: &str = ":event::uuid";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every query that the workspace sends, as far as it matters here.
fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    for file in std::fs::read_dir(root().join(".sqlx")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let query: serde_json::Value = serde_json::from_str(&text).unwrap();
        queries.push(query["query"].as_str().unwrap().to_owned());
    }
    let source = root().join("crates/idempotency/src/lib.rs");
    let source = std::fs::read_to_string(source).unwrap();
    queries.extend(source.split('"').map(str::to_owned));
    queries.iter().map(|query| plain(query)).collect()
}

/// White space is one blank, none within brackets; no column says what it becomes in Rust.
fn plain(query: &str) -> String {
    let words: Vec<&str> = query.split_whitespace().collect();
    let text = words.join(" ").replace("( ", "(").replace(" )", ")");
    let mut parts = text.split('"');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    while let (Some(column), Some(rest)) = (parts.next(), parts.next()) {
        let name = column.split(['!', '?', ':']).next().unwrap_or_default();
        plain.push_str(name);
        plain.push_str(rest);
    }
    plain
}

/// The one query that begins like this, with these in the place of its parameters.
fn sent(queries: &[String], begins: &str, parameters: &[&str]) -> String {
    let found: Vec<_> = queries
        .iter()
        .filter(|query| query.starts_with(begins))
        .collect();
    assert_eq!(found.len(), 1, "`{begins}` begins {found:?}");
    let mut query = found[0].clone();
    // From the last on, for $1 begins $10 as well.
    for (index, parameter) in parameters.iter().enumerate().rev() {
        let place = format!("${}", index + 1);
        assert!(query.contains(&place), "{query} has no {place}");
        query = query.replace(&place, parameter);
    }
    assert!(!query.contains('$'), "{query} has more parameters");
    query
}

#[test]
fn pgbench_runs_the_statements_that_booking_runs() {
    let queries = queries();
    let begin = |operation, key, hash| {
        sent(
            &queries,
            "INSERT INTO idempotency_keys (account_id, operation, key, request_hash)",
            &[CUSTOMER, operation, key, hash],
        )
    };
    let finish = |operation, key, status, location, body| {
        sent(
            &queries,
            "UPDATE idempotency_keys SET status = $4",
            &[CUSTOMER, operation, key, status, location, body],
        )
    };
    let lock = sent(
        &queries,
        "SELECT id FROM seats WHERE event_id = $1 AND order_id IS NULL",
        &[EVENT, "2"],
    );
    let statements = [
        "BEGIN ISOLATION LEVEL READ COMMITTED;".to_owned(),
        begin("'place_hold'", HOLD_KEY, "sha256(:a::bigint::text::bytea)") + ";",
        sent(
            &queries,
            "SELECT pg_try_advisory_xact_lock",
            &[CUSTOMER, EVENT],
        ) + ";",
        sent(
            &queries,
            "SELECT (SELECT count(*) FROM holds JOIN hold_seats",
            &[CUSTOMER, EVENT],
        ) + ";",
        format!("SELECT array_agg(id)::text AS seats FROM ({lock}) AS locked \\gset"),
        sent(
            &queries,
            "WITH moment AS (SELECT clock_timestamp() + make_interval(secs => $5)",
            &[HOLD, CUSTOMER, EVENT, ":seats::bigint[]", "120"],
        ) + ";",
        finish(
            "'place_hold'",
            HOLD_KEY,
            "201",
            "'/api/booking/holds/00000000-0000-7000-8000-000000000000'",
            "repeat('x', 326)::bytea",
        ) + ";",
        "COMMIT;".to_owned(),
        "BEGIN ISOLATION LEVEL READ COMMITTED;".to_owned(),
        begin(
            "'place_order'",
            ORDER_KEY,
            "sha256(:c::bigint::text::bytea)",
        ) + ";",
        sent(&queries, "WITH hold AS MATERIALIZED", &[HOLD, CUSTOMER]) + " \\gset",
        sent(
            &queries,
            "WITH ordered AS (UPDATE holds SET state = 'ordered'",
            &[
                ORDER,
                HOLD,
                CUSTOMER,
                ":event_id::uuid",
                ":total_minor::bigint",
                ":currency",
                "'4242424242424242'",
            ],
        ) + ";",
        sent(
            &queries,
            "WITH counter AS (INSERT INTO outbox_groups",
            &[ORDER, "'payments'", ORDER, "'charge'", "NULL"],
        ) + ";",
        finish(
            "'place_order'",
            ORDER_KEY,
            "202",
            "'/api/booking/orders/00000000-0000-7000-8000-000000000000'",
            "repeat('x', 480)::bytea",
        ) + ";",
        "COMMIT;".to_owned(),
    ];
    let script: Vec<_> = STATEMENTS
        .lines()
        .filter(|line| !line.starts_with("--") && !line.starts_with("\\set"))
        .collect();
    assert_eq!(plain(&script.join(" ")), statements.join(" "));
}
