-- What booking sends to Postgres for a hold and its order, for pgbench. A test
-- (booking/statements.rs) holds it against the queries of booking's own code.
-- :a stands for the customer, :b for the hold and its key, :c for the order.
\set a random(1, 9000000000000000000)
\set b random(1, 9000000000000000000)
\set c random(1, 9000000000000000000)

BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO idempotency_keys (account_id, operation, key, request_hash)
VALUES (lpad(to_hex(:a::bigint), 32, '0')::uuid, 'place_hold', :b::bigint::text, sha256(:a::bigint::text::bytea)) ON CONFLICT DO NOTHING;
SELECT pg_try_advisory_xact_lock(hashtextextended(lpad(to_hex(:a::bigint), 32, '0')::uuid::uuid::text || :event::uuid::uuid::text, 0))
    AS has_turn;
SELECT (
    SELECT count(*) FROM holds JOIN hold_seats ON hold_id = holds.id
    WHERE customer_id = lpad(to_hex(:a::bigint), 32, '0')::uuid AND event_id = :event::uuid AND state = 'active'
        AND expires_at > clock_timestamp()
) + (
    SELECT count(*) FROM orders JOIN order_seats ON order_id = orders.id
    WHERE customer_id = lpad(to_hex(:a::bigint), 32, '0')::uuid AND event_id = :event::uuid AND state IN ('pending', 'declined')
) AS kept;
-- pgbench keeps no arrays between statements: this one takes them as text.
SELECT array_agg(id)::text AS seats FROM (
    SELECT id FROM seats
    WHERE event_id = :event::uuid AND order_id IS NULL
        AND (held_until IS NULL OR held_until <= clock_timestamp())
    ORDER BY rank LIMIT 2 FOR UPDATE SKIP LOCKED
) AS locked \gset
WITH moment AS (
    SELECT clock_timestamp() + make_interval(secs => 120) AS until, currency
    FROM events WHERE id = :event::uuid AND starts_at > clock_timestamp()
), taken AS (
    UPDATE seats SET hold_id = lpad(to_hex(:b::bigint), 32, '0')::uuid, held_until = until FROM moment
    WHERE seats.id = ANY (:seats::bigint[]) AND order_id IS NULL
        AND (held_until IS NULL OR held_until <= clock_timestamp())
    RETURNING seats.id, section, row_name, number, rank, price_minor
), placed AS (
    INSERT INTO holds (id, customer_id, event_id, total_minor, expires_at)
    SELECT lpad(to_hex(:b::bigint), 32, '0')::uuid, lpad(to_hex(:a::bigint), 32, '0')::uuid, :event::uuid, (SELECT sum(price_minor) FROM taken), until FROM moment
    RETURNING total_minor, expires_at
), kept AS (
    INSERT INTO hold_seats (hold_id, seat_id, price_minor)
    SELECT lpad(to_hex(:b::bigint), 32, '0')::uuid, id, price_minor FROM taken
)
SELECT section, row_name, number, price_minor, total_minor, expires_at, currency
FROM taken, placed, moment ORDER BY rank;
UPDATE idempotency_keys SET status = 201, location = '/api/booking/holds/00000000-0000-7000-8000-000000000000', body = repeat('x', 326)::bytea
WHERE account_id = lpad(to_hex(:a::bigint), 32, '0')::uuid AND operation = 'place_hold' AND key = :b::bigint::text;
COMMIT;

BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO idempotency_keys (account_id, operation, key, request_hash)
VALUES (lpad(to_hex(:a::bigint), 32, '0')::uuid, 'place_order', :c::bigint::text, sha256(:c::bigint::text::bytea)) ON CONFLICT DO NOTHING;
WITH hold AS MATERIALIZED (
    SELECT event_id, state, total_minor, expires_at FROM holds
    WHERE id = lpad(to_hex(:b::bigint), 32, '0')::uuid AND customer_id = lpad(to_hex(:a::bigint), 32, '0')::uuid FOR UPDATE
)
SELECT event_id, state AS state, total_minor, currency,
    expires_at > clock_timestamp() AS running,
    starts_at <= clock_timestamp() AS event_began
FROM hold JOIN events ON events.id = event_id \gset
WITH ordered AS (
    UPDATE holds SET state = 'ordered' WHERE id = lpad(to_hex(:b::bigint), 32, '0')::uuid
), placed AS (
    INSERT INTO orders (id, hold_id, customer_id, event_id, total_minor, currency, card)
    VALUES (lpad(to_hex(:c::bigint), 32, '0')::uuid, lpad(to_hex(:b::bigint), 32, '0')::uuid, lpad(to_hex(:a::bigint), 32, '0')::uuid, :event_id::uuid, :total_minor::bigint, :currency, '4242424242424242')
    RETURNING created_at, updated_at
), sold AS (
    UPDATE seats SET order_id = lpad(to_hex(:c::bigint), 32, '0')::uuid, hold_id = NULL, held_until = NULL FROM hold_seats
    WHERE hold_seats.hold_id = lpad(to_hex(:b::bigint), 32, '0')::uuid AND seats.id = hold_seats.seat_id
        AND seats.hold_id = lpad(to_hex(:b::bigint), 32, '0')::uuid
    RETURNING seats.id, section, row_name, number, rank, hold_seats.price_minor
), kept AS (
    INSERT INTO order_seats (order_id, seat_id, price_minor)
    SELECT lpad(to_hex(:c::bigint), 32, '0')::uuid, id, price_minor FROM sold
)
SELECT section, row_name, number, price_minor, created_at, updated_at
FROM sold, placed ORDER BY rank;
WITH counter AS (
    INSERT INTO outbox_groups (destination, group_id, last_sequence) VALUES ('payments', lpad(to_hex(:c::bigint), 32, '0')::uuid, 1)
    ON CONFLICT (destination, group_id)
        DO UPDATE SET last_sequence = outbox_groups.last_sequence + 1
    RETURNING last_sequence
)
INSERT INTO outbox (id, destination, group_id, sequence, kind, traceparent)
SELECT lpad(to_hex(:c::bigint), 32, '0')::uuid, 'payments', lpad(to_hex(:c::bigint), 32, '0')::uuid, last_sequence, 'charge', NULL FROM counter;
UPDATE idempotency_keys SET status = 202, location = '/api/booking/orders/00000000-0000-7000-8000-000000000000', body = repeat('x', 480)::bytea
WHERE account_id = lpad(to_hex(:a::bigint), 32, '0')::uuid AND operation = 'place_order' AND key = :c::bigint::text;
COMMIT;
