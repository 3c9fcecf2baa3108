//! Every index has the query that it serves: Postgres' own plan says so.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use sqlx::{AssertSqlSafe, PgPool, Row};

/// An event, a hold, an order, a customer that [`fill`] makes, and another of each.
const ONE: &str = "'00000000-0000-0000-0000-000000000007'";
const TWO: &str = "'00000000-0000-0000-0000-000000000008'";

/// The plans that the note on SQL shows.
const PLANS: &str = include_str!("../../../docs/notes/sql/plans.sql");

/// Each index, and the query it serves as it stands in this service, in `worker`, or as Postgres
/// runs it for a foreign key.
const SERVED: &[(&str, &str)] = &[
    (
        "seats_event_id_section_row_name_number_key",
        "SELECT seats.id
        FROM unnest('{S7}'::text[], '{1}'::text[], '{1}'::integer[])
            AS wanted (section, row_name, number)
        JOIN seats USING (section, row_name, number)
        WHERE event_id = ONE AND order_id IS NULL
            AND (held_until IS NULL OR held_until <= clock_timestamp())
        ORDER BY seats.id FOR UPDATE OF seats SKIP LOCKED",
    ),
    (
        "seats_event_id_rank_key",
        "SELECT section, row_name, number FROM seats
        WHERE event_id = ONE AND rank > 10 ORDER BY rank LIMIT 101",
    ),
    (
        "seats_unsold",
        "SELECT id FROM seats
        WHERE event_id = ONE AND order_id IS NULL
            AND (held_until IS NULL OR held_until <= clock_timestamp())
        ORDER BY rank LIMIT 2 FOR UPDATE SKIP LOCKED",
    ),
    (
        "seats_unsold_section",
        "SELECT id FROM seats
        WHERE event_id = ONE AND section = 'S7' AND order_id IS NULL
            AND (held_until IS NULL OR held_until <= clock_timestamp())
        ORDER BY rank LIMIT 2 FOR UPDATE SKIP LOCKED",
    ),
    (
        "seats_order",
        "UPDATE seats SET order_id = NULL WHERE order_id = ONE",
    ),
    (
        "seats_order",
        "UPDATE seats SET order_id = NULL WHERE order_id = ANY (ARRAY[ONE, TWO]::uuid[])",
    ),
    (
        "hold_seats_pkey",
        "UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
        WHERE hold_seats.hold_id = ONE AND seats.id = hold_seats.seat_id AND seats.hold_id = ONE",
    ),
    (
        "hold_seats_pkey",
        "UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
        WHERE hold_seats.hold_id = ANY (ARRAY[ONE, TWO]::uuid[]) AND seats.id = hold_seats.seat_id
            AND seats.hold_id = hold_seats.hold_id",
    ),
    (
        "hold_seats_seat",
        "SELECT 1 FROM ONLY hold_seats WHERE seat_id = 7 FOR KEY SHARE",
    ),
    (
        "holds_active_expiry",
        "SELECT id FROM holds WHERE state = 'active' AND expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED",
    ),
    (
        "holds_active_customer",
        "SELECT count(*) FROM holds JOIN hold_seats ON hold_id = holds.id
        WHERE customer_id = ONE AND event_id = TWO AND state = 'active'
            AND expires_at > clock_timestamp()",
    ),
    (
        "holds_over",
        "DELETE FROM holds WHERE id = ANY (ARRAY(
            SELECT id FROM holds WHERE state IN ('released', 'expired')
                AND expires_at < clock_timestamp() - make_interval(secs => 3600)
            ORDER BY expires_at LIMIT 1000))",
    ),
    (
        "holds_event",
        "DELETE FROM holds
        WHERE id = ANY (ARRAY(SELECT id FROM holds WHERE event_id = ONE LIMIT 500))",
    ),
    ("holds_event", "DELETE FROM ONLY holds WHERE event_id = ONE"),
    (
        "orders_hold_id_key",
        "SELECT 1 FROM ONLY orders WHERE hold_id = ONE FOR KEY SHARE",
    ),
    (
        "orders_customer",
        "SELECT id FROM orders WHERE customer_id = ONE
            AND id < 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT 21",
    ),
    (
        "orders_unpaid_customer",
        "SELECT count(*) FROM orders JOIN order_seats ON order_id = orders.id
        WHERE customer_id = ONE AND event_id = TWO AND state IN ('pending', 'declined')",
    ),
    (
        "orders_declined_due",
        "SELECT id FROM orders WHERE state = 'declined' AND payment_due_at <= clock_timestamp()
        ORDER BY payment_due_at LIMIT 100 FOR UPDATE SKIP LOCKED",
    ),
    (
        "orders_event",
        "SELECT id, hold_id FROM orders WHERE event_id = ONE ORDER BY id LIMIT 200 FOR UPDATE",
    ),
    (
        "order_seats_pkey",
        "SELECT seat_id FROM order_seats WHERE order_id = ONE ORDER BY seat_id",
    ),
    (
        "order_seats_seat",
        "SELECT 1 FROM ONLY order_seats WHERE seat_id = 7 FOR KEY SHARE",
    ),
    (
        "tickets_order_id_seat_id_key",
        "UPDATE tickets SET state = 'cancelled' WHERE order_id = ONE",
    ),
    (
        "tickets_seat",
        "SELECT 1 FROM ONLY tickets WHERE seat_id = 7 FOR KEY SHARE",
    ),
    (
        "ledger_transactions_cause_key",
        "SELECT id FROM ledger_transactions WHERE cause = 'charge-7'",
    ),
    (
        "ledger_transactions_event",
        "SELECT id FROM ledger_transactions WHERE event_id = ONE
        ORDER BY cause LIKE 'closing-%' DESC LIMIT 500",
    ),
    (
        "ledger_entries_pkey",
        "SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries WHERE transaction_id = ONE",
    ),
    (
        "ledger_entries_event",
        "SELECT sum(amount_minor) FROM ledger_entries
        WHERE event_id = ONE AND account = 'organiser'",
    ),
    (
        "settlements_event_id_period_key",
        "SELECT id, period FROM settlements WHERE event_id = ONE ORDER BY period DESC LIMIT 1000",
    ),
    (
        "settlements_due",
        "SELECT id, event_id, amount_minor, currency, account FROM settlements
        WHERE state = 'due' ORDER BY tried_at NULLS FIRST, created_at LIMIT 100",
    ),
    (
        "settlements_refused",
        "SELECT count(*) FROM settlement_refusals
        WHERE in_a_row >= 3 AND last_at > clock_timestamp() - interval '1 day'",
    ),
    (
        "outbox_undelivered",
        "SELECT EXISTS (SELECT FROM outbox
            WHERE destination IN ('payments', 'tickets') AND group_id = ONE
                AND delivered_at IS NULL AND dead_at IS NOT NULL)",
    ),
    (
        "outbox_due",
        "SELECT id FROM outbox WHERE destination = 'payments'
            AND delivered_at IS NULL AND dead_at IS NULL ORDER BY id LIMIT 10",
    ),
    (
        "outbox_delivered",
        "SELECT id FROM outbox WHERE delivered_at < clock_timestamp() - interval '9 days'
        ORDER BY delivered_at LIMIT 100",
    ),
    (
        "idempotency_keys_created_at",
        "SELECT ctid FROM idempotency_keys WHERE created_at < clock_timestamp() - interval '9 days'
        ORDER BY created_at LIMIT 100",
    ),
];

/// Indexes that stand for a rule: what they forbid is what they serve.
const RULES: &[&str] = &[
    "tickets_one_live_per_seat",
    "outbox_destination_group_id_sequence_key",
    "outbox_groups_pkey",
    "idempotency_keys_pkey",
    "leader_tasks_pkey",
    "leader_terms_pkey",
    "leader_fence_pkey",
];

/// A week of a busy house: enough rows that reading a whole table is never the shortest way.
async fn fill(pool: &PgPool) {
    // Most of what is there is over: a partial index serves because it leaves that out.
    for statement in [
        "CREATE FUNCTION u(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
            $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$",
        "INSERT INTO events (id, organiser_id, title, venue, starts_at, currency, payout_account, seating)
        SELECT u(n), u(n), '', '', now(), 'EUR', '', '{}' FROM generate_series(1, 50) AS n",
        "INSERT INTO holds (id, customer_id, event_id, total_minor, state, expires_at)
        SELECT u(n), u(n % 400), u(n % 50 + 1), 1,
            CASE n % 40 WHEN 0 THEN 'active' WHEN 1 THEN 'released' WHEN 2 THEN 'expired'
                ELSE 'ordered' END,
            now() - n * interval '1 second'
        FROM generate_series(1, 8000) AS n",
        "INSERT INTO orders (id, customer_id, event_id, hold_id, total_minor, currency, card, state, payment_due_at)
        SELECT u(n), u(n % 400), u(n % 50 + 1), u(n), 1, 'EUR', '',
            CASE n % 40 WHEN 0 THEN 'declined' WHEN 1 THEN 'pending' ELSE 'paid' END,
            now() - n * interval '1 second'
        FROM generate_series(1, 8000) AS n",
        "INSERT INTO seats (event_id, section, row_name, number, rank, price_minor, order_id)
        SELECT u(event), 'S' || (seat - 1) / 40, ((seat - 1) / 10) % 4 + 1, (seat - 1) % 10 + 1,
            seat, 1, CASE WHEN seat % 4 > 0 THEN u((event * 400 + seat) % 8000 + 1) END
        FROM generate_series(1, 50) AS event, generate_series(1, 400) AS seat",
        "INSERT INTO hold_seats SELECT u(n), n, 1 FROM generate_series(1, 8000) AS n",
        "INSERT INTO order_seats SELECT u(n), n, 1 FROM generate_series(1, 8000) AS n",
        "INSERT INTO tickets (id, order_id, seat_id) SELECT u(n), u(n), n
        FROM generate_series(1, 8000) AS n",
        "INSERT INTO ledger_transactions (id, kind, event_id, cause)
        SELECT u(n), 'charge', u(n % 50 + 1), 'charge-' || n FROM generate_series(1, 8000) AS n",
        "INSERT INTO ledger_entries
        SELECT u(n), account, u(n % 50 + 1), sign, 'EUR' FROM generate_series(1, 8000) AS n,
            (VALUES ('bank', 1), ('organiser', -1)) AS side (account, sign)",
        "INSERT INTO settlements (id, event_id, period, amount_minor, currency, account, state, fence_token)
        SELECT u(n), u(n % 50 + 1), n, 1, 'EUR', '',
            CASE n % 40 WHEN 0 THEN 'due' WHEN 1 THEN 'refused' ELSE 'paid' END, 1
        FROM generate_series(1, 8000) AS n",
        "INSERT INTO outbox (id, destination, group_id, sequence, kind, delivered_at, dead_at)
        SELECT u(n), CASE n % 2 WHEN 0 THEN 'payments' ELSE 'tickets' END, u(n), 1, 'charge',
            CASE WHEN n % 40 > 1 THEN now() - n * interval '1 hour' END,
            CASE WHEN n % 400 = 0 THEN now() END
        FROM generate_series(1, 8000) AS n",
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
        SELECT u(n), 'place_order', n, '', now() - n * interval '5 minutes'
        FROM generate_series(1, 8000) AS n",
        "ANALYZE",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn each_index_is_used_by_the_query_it_serves(pool: PgPool) {
    fill(&pool).await;
    let mut unused = Vec::new();
    for (index, query) in SERVED {
        let explain = format!(
            "EXPLAIN (COSTS OFF) {}",
            query.replace("ONE", ONE).replace("TWO", TWO)
        );
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
            .fetch_all(&pool)
            .await
            .unwrap();
        // Each line ends, the last one too.
        let plan = plan.join("\n") + "\n";
        if !plan.contains(&format!(" {index} ")) && !plan.contains(&format!("on {index}\n")) {
            unused.push(format!("{index}:\n{plan}"));
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n\n"));
}

#[sqlx::test(migrations = "./migrations")]
#[ignore = "needs the stores: make test"]
async fn no_index_stands_there_without_its_query(pool: PgPool) {
    let rows = sqlx::query(
        "SELECT indexrelid::regclass::text AS name FROM pg_index
        JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace AND relname <> '_sqlx_migrations'
            AND NOT (indisprimary AND indnatts = 1)",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    for row in rows {
        let name: String = row.get("name");
        let known =
            SERVED.iter().any(|(index, _)| *index == name) || RULES.contains(&name.as_str());
        assert!(known, "{name} serves no query that we know of");
    }
}

#[test]
fn each_index_has_its_plan_in_the_note() {
    let headings: Vec<_> = PLANS
        .lines()
        .filter(|line| line.starts_with("\\echo"))
        .collect();
    for (index, _) in SERVED {
        let shown = headings.iter().any(|heading| {
            heading
                .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                .any(|word| word == *index)
        });
        assert!(shown, "docs/notes/sql/plans.sql does not show {index}");
    }
}
