-- Fills an empty copy of booking's database with a year of business, so that the planner has
-- something to choose from: 100 events of 500 seats, 15,000 orders. Everything is derived from
-- numbers, so that every run makes the same rows.
BEGIN;
SET LOCAL synchronous_commit = off;

CREATE FUNCTION pg_temp.id(kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || number)::uuid $$;

INSERT INTO events (id, organiser_id, title, venue, starts_at, currency, payout_account, seating)
SELECT pg_temp.id('event', n), pg_temp.id('organiser', n % 20), 'Event ' || n, 'Hall',
    clock_timestamp() + make_interval(days => n), 'EUR', '4242424242424242', '{}'
FROM generate_series(1, 100) AS n;

INSERT INTO seats (event_id, section, row_name, number, rank, price_minor)
SELECT pg_temp.id('event', event), CASE WHEN seat < 250 THEN 'Stalls' ELSE 'Balcony' END,
    (seat % 250 / 25 + 1)::text, seat % 25 + 1, seat, 4500
FROM generate_series(1, 100) AS event, generate_series(0, 499) AS seat;

-- Of each event 150 orders of two seats each, two holds that run and two that came to nothing.
INSERT INTO holds (id, customer_id, event_id, state, total_minor, expires_at)
SELECT pg_temp.id('hold', event * 1000 + n), pg_temp.id('customer', (event * 7 + n) % 3000),
    pg_temp.id('event', event), CASE WHEN n <= 150 THEN 'ordered' WHEN n <= 152 THEN 'active'
    ELSE 'expired' END, 9000, clock_timestamp() + make_interval(secs => event * 60 + n)
FROM generate_series(1, 100) AS event, generate_series(1, 154) AS n;

INSERT INTO hold_seats (hold_id, seat_id, price_minor)
SELECT pg_temp.id('hold', event * 1000 + n), (event - 1) * 500 + n * 2 - 1 + pair, 4500
FROM generate_series(1, 100) AS event, generate_series(1, 154) AS n, generate_series(0, 1) AS pair;

INSERT INTO orders (id, customer_id, event_id, hold_id, state, total_minor, currency, card, payment_due_at)
SELECT pg_temp.id('order', event * 1000 + n), pg_temp.id('customer', (event * 7 + n) % 3000),
    pg_temp.id('event', event), pg_temp.id('hold', event * 1000 + n),
    CASE WHEN n = 150 THEN 'declined' ELSE 'paid' END, 9000, 'EUR', '4242424242424242',
    CASE WHEN n = 150 THEN clock_timestamp() + make_interval(secs => event) END
FROM generate_series(1, 100) AS event, generate_series(1, 150) AS n;

INSERT INTO order_seats (order_id, seat_id, price_minor)
SELECT pg_temp.id('order', event * 1000 + n), (event - 1) * 500 + n * 2 - 1 + pair, 4500
FROM generate_series(1, 100) AS event, generate_series(1, 150) AS n, generate_series(0, 1) AS pair;

UPDATE seats SET order_id = order_seats.order_id FROM order_seats WHERE seats.id = seat_id;

INSERT INTO tickets (id, order_id, seat_id)
SELECT pg_temp.id('ticket', seat_id), order_id, seat_id FROM order_seats;

INSERT INTO ledger_transactions (id, kind, event_id, order_id, cause)
SELECT id, 'charge', event_id, id, 'charge-' || id || '-1' FROM orders WHERE state = 'paid';
INSERT INTO ledger_entries (transaction_id, account, event_id, amount_minor, currency)
SELECT id, account, event_id, CASE account WHEN 'bank' THEN 9000 ELSE -9000 END, 'EUR'
FROM orders, unnest(ARRAY['bank', 'organiser']) AS account WHERE state = 'paid';

INSERT INTO settlements (id, event_id, period, amount_minor, currency, account, state, fence_token)
SELECT pg_temp.id('settlement', event * 1000 + period), pg_temp.id('event', event), period, 9000,
    'EUR', '4242424242424242', CASE WHEN period = 20 AND event < 5 THEN 'due'
    WHEN period > 17 AND event = 5 THEN 'refused' ELSE 'paid' END, 1
FROM generate_series(1, 100) AS event, generate_series(1, 20) AS period;

INSERT INTO outbox (id, destination, group_id, sequence, kind, sends, sent_at, delivered_at)
SELECT pg_temp.id(destination, row_number() OVER ()), destination, id, 1,
    CASE destination WHEN 'payments' THEN 'charge' ELSE 'render_tickets' END, 1, created_at,
    CASE WHEN row_number() OVER () % 300 = 0 THEN NULL ELSE clock_timestamp() END
FROM orders, unnest(ARRAY['payments', 'tickets']) AS destination;
INSERT INTO outbox_groups SELECT destination, group_id, 1 FROM outbox;

INSERT INTO idempotency_keys (account_id, operation, key, request_hash, created_at)
SELECT pg_temp.id('customer', n % 3000), 'place_order', 'key-' || n, '\x00',
    clock_timestamp() - make_interval(secs => n)
FROM generate_series(1, 90000) AS n;
COMMIT;

VACUUM ANALYZE;
