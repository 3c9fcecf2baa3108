use std::time::Duration;

use messages::outbox::Destination;
use sqlx::PgPool;
use uuid::Uuid;
use worker::fence;
use worker::tasks::Failure;
use worker::tasks::prune::Prune;

use crate::world::{FINE, PRICE, World};

fn prune(world: &World) -> Prune {
    Prune::new(world.office.clone(), Duration::from_secs(24 * 3600))
}

async fn began(pool: &PgPool, hours_ago: i32) {
    sqlx::query("UPDATE events SET starts_at = now() - make_interval(hours => $1)")
        .bind(hours_ago)
        .execute(pool)
        .await
        .unwrap();
}

async fn deliver(pool: &PgPool) {
    sqlx::query("UPDATE outbox SET delivered_at = now()")
        .execute(pool)
        .await
        .unwrap();
}

async fn events(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("SELECT id FROM events")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Rows of everything that belongs to an event.
async fn left(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM seats)
            + (SELECT count(*) FROM orders) + (SELECT count(*) FROM holds)
            + (SELECT count(*) FROM tickets) + (SELECT count(*) FROM outbox)
            + (SELECT count(*) FROM outbox_groups) + (SELECT count(*) FROM settlements)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

async fn sums(pool: &PgPool) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT kind, sum(amount_minor)::bigint FROM ledger_transactions
        JOIN ledger_entries ON transaction_id = id WHERE account = 'bank'
        GROUP BY kind ORDER BY kind",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

fn charged_and_paid_out(orders: i64) -> [(String, i64); 2] {
    [
        ("charge".to_owned(), orders * PRICE),
        ("payout".to_owned(), -orders * PRICE),
    ]
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_event_that_is_over_shrinks_to_its_balances_once_nothing_of_it_is_open(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let prune = prune(&world);
    let orders = [world.paid_order().await, world.paid_order().await];
    began(&pool, 25).await;
    assert!(
        !prune.next_event(token).await.unwrap(),
        "money is owed and tickets are to be rendered"
    );

    let settle = world.settle();
    settle.record(token, 1).await.unwrap();
    let due = settle.due().await.unwrap().remove(0);
    settle.pay_out(&due, token).await.unwrap();
    for order in orders {
        assert!(world.last(Destination::Tickets, order).await.is_some());
    }
    deliver(&pool).await;
    began(&pool, 23).await;
    assert!(!prune.next_event(token).await.unwrap(), "it is kept a day");

    began(&pool, 25).await;
    assert!(prune.next_event(token).await.unwrap());
    assert!(!prune.next_event(token).await.unwrap());
    assert_eq!(left(&pool).await, 0);
    assert_eq!(sums(&pool).await, charged_and_paid_out(2));
    world.assert_agreement().await;
}

/// What is paid and settled: an order for each of so many seats.
async fn sell(pool: &PgPool, orders: i64) {
    for statement in [
        "CREATE FUNCTION u(n bigint) RETURNS uuid LANGUAGE sql AS
            $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$",
        "INSERT INTO seats (event_id, section, row_name, number, rank, price_minor)
        SELECT id, 'Balcony', '1', n, 100 + n, 4500 FROM events, numbers",
        "INSERT INTO holds (id, customer_id, event_id, state, total_minor, expires_at)
        SELECT u(n), u(n), id, 'ordered', 4500, now() FROM events, numbers",
        "INSERT INTO orders
            (id, customer_id, event_id, hold_id, state, total_minor, currency, card)
        SELECT u(n), u(n), id, u(n), 'paid', 4500, 'EUR', '' FROM events, numbers",
        "UPDATE seats SET order_id = u(number) WHERE section = 'Balcony'",
        "INSERT INTO hold_seats SELECT order_id, id, 4500 FROM seats WHERE order_id IS NOT NULL",
        "INSERT INTO order_seats SELECT order_id, id, 4500 FROM seats WHERE order_id IS NOT NULL",
        "INSERT INTO tickets (id, order_id, seat_id) SELECT order_id, order_id, seat_id
        FROM order_seats",
        "INSERT INTO outbox_groups SELECT 'payments', id, 1 FROM orders",
        "INSERT INTO outbox (id, destination, group_id, sequence, kind, delivered_at)
        SELECT id, 'payments', id, 1, 'charge', now() FROM orders",
        "WITH written AS (
            INSERT INTO ledger_transactions (id, kind, event_id, order_id, cause)
            SELECT id, 'charge', event_id, id, 'charge-' || id FROM orders RETURNING id, event_id
        )
        INSERT INTO ledger_entries SELECT written.id, account, event_id, sign * 4500, 'EUR'
        FROM written, (VALUES ('bank', 1), ('organiser', -1)) AS side (account, sign)",
        "WITH written AS (
            INSERT INTO ledger_transactions (id, kind, event_id, cause)
            SELECT id, 'payout', id, 'payout-' || id FROM events RETURNING id, event_id
        )
        INSERT INTO ledger_entries
        SELECT written.id, account, event_id, sign * 4500 * (SELECT count(*) FROM orders), 'EUR'
        FROM written, (VALUES ('bank', -1), ('organiser', 1)) AS side (account, sign)",
        "ANALYZE",
    ] {
        let numbers = format!("generate_series(1, {orders}) AS n");
        let statement = statement.replace("numbers", &numbers);
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(pool)
            .await
            .unwrap();
    }
}

/// Orders of which something is gone, and what is left of orders that are gone.
async fn broken(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT (
            SELECT count(*) FROM orders
            WHERE NOT EXISTS (SELECT FROM order_seats JOIN seats ON seats.id = seat_id
                    WHERE order_seats.order_id = orders.id AND seats.order_id = orders.id)
                OR NOT EXISTS (SELECT FROM hold_seats JOIN seats ON seats.id = seat_id
                    WHERE hold_seats.hold_id = orders.hold_id)
                OR NOT EXISTS (SELECT FROM tickets WHERE order_id = orders.id)
                OR NOT EXISTS (SELECT FROM outbox WHERE group_id = orders.id)
        ) + (SELECT count(*) FROM outbox WHERE group_id NOT IN (SELECT id FROM orders))
        + (SELECT count(*) FROM outbox_groups WHERE group_id NOT IN (SELECT id FROM orders))
        + (SELECT count(*) FROM holds WHERE id NOT IN (SELECT hold_id FROM orders))",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_large_hall_goes_in_steps_and_no_order_is_ever_half_gone(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    sell(&pool, 600).await;
    assert_eq!(broken(&pool).await, 0);
    began(&pool, 25).await;
    let prune = prune(&world);
    let mut steps = 0;
    while prune.next_event(token).await.unwrap() {
        steps += 1;
        assert_eq!(broken(&pool).await, 0, "after step {steps}");
        assert_eq!(sums(&pool).await, charged_and_paid_out(600));
        assert!(steps < 20);
    }
    assert!(steps > 3, "{steps} steps");
    assert_eq!(left(&pool).await, 0);
    let transactions: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_transactions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(transactions, 2, "one of each kind");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn pruning_waits_for_a_hold_that_is_being_placed_and_then_leaves_the_event(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    began(&pool, 25).await;
    let mut placing = pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO holds (id, customer_id, event_id, total_minor, expires_at)
        VALUES ($1, $1, $2, 1, now() + interval '2 minutes')",
    )
    .bind(Uuid::now_v7())
    .bind(world.event)
    .execute(&mut *placing)
    .await
    .unwrap();
    let prune = prune(&world);
    let (pruned, ()) = tokio::join!(prune.next_event(token), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        placing.commit().await.unwrap();
    });
    assert!(!pruned.unwrap());
    assert_eq!(events(&pool).await, [world.event]);

    sqlx::query("UPDATE holds SET expires_at = now()")
        .execute(&pool)
        .await
        .unwrap();
    assert!(prune.next_event(token).await.unwrap());
    assert_eq!(left(&pool).await, 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn an_event_that_cannot_be_pruned_does_not_stand_in_the_way_of_others(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    began(&pool, 25).await;
    let stuck = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO events
            (id, organiser_id, title, venue, starts_at, currency, payout_account, seating)
        VALUES ($1, $1, '', '', now() - interval '3 days', 'EUR', '', '[]')",
    )
    .bind(stuck)
    .execute(&pool)
    .await
    .unwrap();
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON events FOR EACH ROW
            WHEN (OLD.title = '') EXECUTE FUNCTION refuse();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let prune = prune(&world);
    assert!(matches!(
        prune.next_event(token).await,
        Err(Failure::Database(_))
    ));
    assert!(prune.next_event(token).await.unwrap());
    assert_eq!(events(&pool).await, [stuck]);
    assert!(!prune.next_event(token).await.unwrap(), "not at once again");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn old_rows_and_keys_go_and_young_ones_stay(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let old = world.paid_order().await;
    sqlx::query(
        "UPDATE outbox SET delivered_at = now() - interval '2 h' WHERE destination = 'payments'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let young = world.paid_order().await;
    sqlx::raw_sql(
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
        VALUES (gen_random_uuid(), 'x', 'old', '', now() - interval '25 h'),
            (gen_random_uuid(), 'x', 'young', '', now() - interval '23 h')",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(!prune(&world).rows(token).await.unwrap());
    assert!(world.last(Destination::Payments, old).await.is_none());
    assert!(world.last(Destination::Payments, young).await.is_some());
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM idempotency_keys")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(keys, ["young"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn a_batch_of_keys_goes_at_a_time_and_a_full_one_asks_for_another_run(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let old = i64::from(idempotency::PRUNE_BATCH) + 1;
    sqlx::query(
        "INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
        SELECT gen_random_uuid(), 'x', n::text, '', now() - interval '25 h'
        FROM generate_series(1, $1) AS n",
    )
    .bind(old)
    .execute(&pool)
    .await
    .unwrap();
    assert!(prune(&world).rows(token).await.unwrap(), "one key is left");
    assert!(!prune(&world).rows(token).await.unwrap());
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM idempotency_keys")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
#[ignore = "needs the stores: make test"]
async fn holds_that_came_to_nothing_go_an_hour_after_their_time(pool: PgPool) {
    let world = World::new(pool.clone(), FINE).await;
    let token = fence::mint(&pool, "a").await.unwrap();
    let order = world.order(FINE).await.id;
    sqlx::query("UPDATE holds SET expires_at = now() - interval '2 h'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO holds (id, customer_id, event_id, state, total_minor, expires_at)
        SELECT gen_random_uuid(), gen_random_uuid(), events.id, state, minutes,
            now() - make_interval(mins => minutes)
        FROM events, (VALUES ('released', 61), ('expired', 62), ('released', 59), ('active', 63))
            AS hold (state, minutes);
        INSERT INTO hold_seats SELECT holds.id, seats.id, 1 FROM holds, seats
        WHERE state = 'expired' AND number = 9;",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(!prune(&world).rows(token).await.unwrap());
    let kept: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, total_minor FROM holds ORDER BY state")
            .fetch_all(&pool)
            .await
            .unwrap();
    let kept: Vec<_> = kept.iter().map(|(state, n)| (state.as_str(), *n)).collect();
    assert_eq!(kept, [("active", 63), ("ordered", PRICE), ("released", 59)]);
    assert_eq!(world.state(order).await, "pending");
}
