-- The query that each index serves, and the plan that Postgres makes of it.
\pset tuples_only on
\pset format unaligned
SELECT quote_literal(md5('event7')::uuid) AS event, quote_literal(md5('hold7007')::uuid) AS hold,
    quote_literal(md5('hold7153')::uuid) AS expired,
    quote_literal(md5('order7007')::uuid) AS "order", quote_literal(md5('customer7')::uuid) AS customer \gset

\echo '--- seats_unsold: the best free seats of an event'
EXPLAIN (COSTS OFF) SELECT id FROM seats WHERE event_id = :event AND order_id IS NULL
    AND (held_until IS NULL OR held_until <= clock_timestamp())
    ORDER BY rank LIMIT 4 FOR UPDATE SKIP LOCKED;
\echo '--- seats_unsold_section: the best free seats of a section'
EXPLAIN (COSTS OFF) SELECT id FROM seats WHERE event_id = :event AND section = 'Balcony' AND order_id IS NULL
    AND (held_until IS NULL OR held_until <= clock_timestamp())
    ORDER BY rank LIMIT 4 FOR UPDATE SKIP LOCKED;
\echo '--- seats_event_id_section_row_name_number_key: seats by name'
EXPLAIN (COSTS OFF) SELECT seats.id
    FROM unnest(ARRAY['Stalls', 'Stalls'], ARRAY['1', '1'], ARRAY[1, 2]) AS wanted (section, row_name, number)
    JOIN seats USING (section, row_name, number)
    WHERE event_id = :event AND order_id IS NULL AND (held_until IS NULL OR held_until <= clock_timestamp())
    ORDER BY seats.id FOR UPDATE OF seats SKIP LOCKED;
\echo '--- seats_event_id_rank_key: a page of an event''s seats'
EXPLAIN (COSTS OFF) SELECT section, row_name, number, price_minor FROM seats
    WHERE event_id = :event AND rank > 100 ORDER BY rank LIMIT 100;
\echo '--- seats_order: the seats of a cancelled order'
EXPLAIN (COSTS OFF) UPDATE seats SET order_id = NULL WHERE order_id = :order;
\echo '--- hold_seats_pkey: the seats of a hold that is given back, of holds that expired'
EXPLAIN (COSTS OFF) UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
    WHERE hold_seats.hold_id = :hold AND seats.id = hold_seats.seat_id AND seats.hold_id = :hold;
EXPLAIN (COSTS OFF) UPDATE seats SET hold_id = NULL, held_until = NULL FROM hold_seats
    WHERE hold_seats.hold_id = ANY (ARRAY[:hold, :expired]::uuid[]) AND seats.id = hold_seats.seat_id
        AND seats.hold_id = hold_seats.hold_id;
\echo '--- holds_active_expiry: the sweep'
EXPLAIN (COSTS OFF) SELECT id FROM holds WHERE state = 'active' AND expires_at <= clock_timestamp()
    ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED;
\echo '--- holds_active_customer, orders_unpaid_customer: what an account keeps without having paid'
EXPLAIN (COSTS OFF) SELECT id FROM holds WHERE customer_id = :customer AND event_id = :event
    AND state = 'active' AND expires_at > clock_timestamp();
EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE customer_id = :customer AND event_id = :event
    AND state IN ('pending', 'declined');
\echo '--- holds_over: pruning of holds that came to nothing'
EXPLAIN (COSTS OFF) DELETE FROM holds WHERE id = ANY (ARRAY(
    SELECT id FROM holds WHERE state IN ('released', 'expired')
        AND expires_at < clock_timestamp() - interval '1 hour'
    ORDER BY expires_at LIMIT 1000));
\echo '--- holds_event, orders_event: pruning of an event'
EXPLAIN (COSTS OFF) DELETE FROM holds
    WHERE id = ANY (ARRAY(SELECT id FROM holds WHERE event_id = :event LIMIT 500));
EXPLAIN (COSTS OFF) SELECT id, hold_id FROM orders WHERE event_id = :event ORDER BY id LIMIT 200 FOR UPDATE;
\echo '--- hold_seats_seat, order_seats_seat, tickets_seat, orders_hold_id_key: the foreign keys when seats and holds are pruned'
EXPLAIN (COSTS OFF) SELECT 1 FROM ONLY hold_seats WHERE seat_id = 7 FOR KEY SHARE;
EXPLAIN (COSTS OFF) SELECT 1 FROM ONLY order_seats WHERE seat_id = 7 FOR KEY SHARE;
EXPLAIN (COSTS OFF) SELECT 1 FROM ONLY tickets WHERE seat_id = 7 FOR KEY SHARE;
EXPLAIN (COSTS OFF) SELECT 1 FROM ONLY orders WHERE hold_id = :hold FOR KEY SHARE;
\echo '--- orders_customer: a page of a customer''s orders'
EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE customer_id = :customer AND id < :order ORDER BY id DESC LIMIT 20;
\echo '--- orders_declined_due: declined orders that nobody paid in time'
EXPLAIN (COSTS OFF) SELECT id FROM orders WHERE state = 'declined' AND payment_due_at <= clock_timestamp()
    ORDER BY payment_due_at LIMIT 100;
\echo '--- order_seats_pkey, tickets_order_id_seat_id_key: the seats and the tickets of an order'
EXPLAIN (COSTS OFF) SELECT seat_id FROM order_seats WHERE order_id = :order;
EXPLAIN (COSTS OFF) SELECT id FROM tickets WHERE order_id = :order;
\echo '--- ledger_entries_event: what is owed to the organiser of an event'
EXPLAIN (COSTS OFF) SELECT sum(amount_minor) FROM ledger_entries WHERE event_id = :event AND account = 'organiser';
\echo '--- ledger_transactions_event, ledger_entries_pkey: closing the ledger of an event'
EXPLAIN (COSTS OFF) SELECT id FROM ledger_transactions WHERE event_id = :event
    ORDER BY cause LIKE 'closing-%' DESC LIMIT 500;
EXPLAIN (COSTS OFF) SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries WHERE transaction_id = :order;
\echo '--- ledger_transactions_cause_key: one effect for each cause'
EXPLAIN (COSTS OFF) SELECT id FROM ledger_transactions WHERE cause = 'charge-7';
\echo '--- settlements_event_id_period_key: the payouts of an event'
EXPLAIN (COSTS OFF) SELECT id, period FROM settlements WHERE event_id = :event ORDER BY period DESC LIMIT 1000;
\echo '--- settlements_due: the payouts whose turn it is'
EXPLAIN (COSTS OFF) SELECT id FROM settlements WHERE state = 'due'
    ORDER BY tried_at NULLS FIRST, created_at LIMIT 100;
\echo '--- settlements_refused: refusals in a row'
EXPLAIN (COSTS OFF) SELECT count(*) FROM settlement_refusals
    WHERE in_a_row >= 3 AND last_at > clock_timestamp() - interval '1 day';
\echo '--- outbox_due, outbox_undelivered: what the relay sends next'
EXPLAIN (COSTS OFF) SELECT id FROM outbox candidate
    WHERE destination = 'payments' AND delivered_at IS NULL AND dead_at IS NULL AND sent_at IS NULL
    AND NOT EXISTS (SELECT FROM outbox lower WHERE lower.destination = candidate.destination
        AND lower.group_id = candidate.group_id AND lower.sequence < candidate.sequence AND lower.delivered_at IS NULL)
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED;
\echo '--- outbox_delivered: pruning of delivered rows'
EXPLAIN (COSTS OFF) SELECT id FROM outbox WHERE delivered_at < clock_timestamp() - interval '1 hour'
    ORDER BY delivered_at LIMIT 1000;
\echo '--- idempotency_keys_created_at: forgetting keys'
EXPLAIN (COSTS OFF) SELECT ctid FROM idempotency_keys
    WHERE created_at < clock_timestamp() - interval '1 day' ORDER BY created_at LIMIT 1000;
