-- The whole of booking: seats, holds, orders, tickets, the ledger, the outbox, the leader's fence.
-- Migrations only ever expand before they contract.

-- ── events and seats ────────────────────────────────────────────────────────────────────────
CREATE TABLE events (
    id uuid PRIMARY KEY,
    organiser_id uuid NOT NULL,
    title text NOT NULL,
    venue text NOT NULL,
    starts_at timestamptz NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payout_account text NOT NULL,
    -- What was published, to tell a repetition from another seating.
    seating jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A seat is sold when order_id is set and no hold can take it; held while held_until is ahead of
-- the clock; free otherwise. `rank` is the order in which best seats are given out.
-- A hold changes no indexed column, so with room on the page it is a heap-only update: the seats of
-- a hold are found through hold_seats, and there is deliberately no index on hold_id.
CREATE TABLE seats (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    section text NOT NULL,
    row_name text NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    rank integer NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor > 0),
    hold_id uuid,
    held_until timestamptz,
    order_id uuid,
    CHECK ((hold_id IS NULL) = (held_until IS NULL)),
    -- Serves: named seats (holds/place).
    UNIQUE (event_id, section, row_name, number),
    -- Serves: the pages of an event's seats (events/list_seats).
    UNIQUE (event_id, rank)
) WITH (fillfactor = 70);
-- Serves: the best free seats of an event, in rank order (holds/place).
CREATE INDEX seats_unsold ON seats (event_id, rank) WHERE order_id IS NULL;
-- Serves: the best free seats of one section.
CREATE INDEX seats_unsold_section ON seats (event_id, section, rank) WHERE order_id IS NULL;
-- Serves: freeing the seats of an order that was cancelled or is pruned; the foreign key.
CREATE INDEX seats_order ON seats (order_id) WHERE order_id IS NOT NULL;

-- ── holds ───────────────────────────────────────────────────────────────────────────────────
CREATE TABLE holds (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    event_id uuid NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ordered', 'released', 'expired')),
    total_minor bigint NOT NULL CHECK (total_minor > 0),
    expires_at timestamptz NOT NULL,
    fence_token bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Serves: the leader's sweep.
CREATE INDEX holds_active_expiry ON holds (expires_at) WHERE state = 'active';
-- Serves: pruning of holds that came to nothing.
CREATE INDEX holds_over ON holds (expires_at) WHERE state IN ('released', 'expired');
-- Serves: the holds of an event that is pruned, and its foreign key.
CREATE INDEX holds_event ON holds (event_id);

-- The price freezes in the hold. A seat cannot go while a hold, an order or a ticket names it.
CREATE TABLE hold_seats (
    hold_id uuid NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    seat_id bigint NOT NULL REFERENCES seats (id),
    price_minor bigint NOT NULL,
    -- Serves: the seats of a hold (order, release, sweep).
    PRIMARY KEY (hold_id, seat_id)
);
-- Serves: the foreign key when seats are pruned.
CREATE INDEX hold_seats_seat ON hold_seats (seat_id);

-- ── orders ──────────────────────────────────────────────────────────────────────────────────
-- pending: the payment is under way. declined: the bank said no, a new card may be given until
-- payment_due_at. paid. cancelling: paid, the refund is under way. Final: cancelled, expired
-- (nobody gave a new card in time), and paid once the event is over.
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    event_id uuid NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    -- A hold cannot go while its order is there.
    hold_id uuid NOT NULL UNIQUE REFERENCES holds (id),
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'declined', 'paid', 'cancelling', 'cancelled', 'expired')),
    cancel_requested boolean NOT NULL DEFAULT false,
    total_minor bigint NOT NULL CHECK (total_minor > 0),
    currency text NOT NULL,
    card text NOT NULL,
    -- Advances only after a definite decline and a new card; part of the key at the bank.
    attempt integer NOT NULL DEFAULT 1,
    charge_id uuid,
    payment_due_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Serves: a customer's orders, newest first, by cursor (ids are UUIDv7, so they sort by time).
CREATE INDEX orders_customer ON orders (customer_id, id DESC);
-- Serves: the leader's expiry of declined orders.
CREATE INDEX orders_declined_due ON orders (payment_due_at) WHERE state = 'declined';
-- Serves: settlement and pruning, by event.
CREATE INDEX orders_event ON orders (event_id, state);

ALTER TABLE seats ADD FOREIGN KEY (order_id) REFERENCES orders (id);

CREATE TABLE order_seats (
    order_id uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seat_id bigint NOT NULL REFERENCES seats (id),
    price_minor bigint NOT NULL,
    -- Serves: the seats of an order.
    PRIMARY KEY (order_id, seat_id)
);
-- Serves: the foreign key when seats are pruned.
CREATE INDEX order_seats_seat ON order_seats (seat_id);

-- ── tickets ─────────────────────────────────────────────────────────────────────────────────
-- Serials are given in the transaction that settles the order; the PDF follows.
CREATE TABLE tickets (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seat_id bigint NOT NULL REFERENCES seats (id),
    state text NOT NULL DEFAULT 'valid' CHECK (state IN ('valid', 'admitted', 'cancelled')),
    code text,
    pdf bytea,
    admitted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Serves: the tickets of an order.
    UNIQUE (order_id, seat_id)
);
-- Serves: the foreign key when seats are pruned.
CREATE INDEX tickets_seat ON tickets (seat_id);
-- A seat has one ticket that lets somebody in.
CREATE UNIQUE INDEX tickets_one_live_per_seat ON tickets (seat_id) WHERE state <> 'cancelled';

-- ── the ledger ──────────────────────────────────────────────────────────────────────────────
-- Double entry. Accounts: 'bank' (what the provider holds for us) and 'organiser' (what we owe the
-- organiser of the event). A charge debits bank and credits organiser.
CREATE TABLE ledger_transactions (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('charge', 'refund', 'payout', 'closing')),
    event_id uuid NOT NULL,
    order_id uuid,
    settlement_id uuid,
    -- One effect for each cause, whatever is delivered how often.
    cause text NOT NULL UNIQUE,
    fence_token bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE ledger_entries (
    transaction_id uuid NOT NULL REFERENCES ledger_transactions (id) ON DELETE CASCADE,
    account text NOT NULL CHECK (account IN ('bank', 'organiser')),
    event_id uuid NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    currency text NOT NULL,
    PRIMARY KEY (transaction_id, account)
);
-- Serves: what is owed to the organiser of an event (pruning).
CREATE INDEX ledger_entries_event ON ledger_entries (event_id, account);
-- Serves: the closing of an event's ledger, and its page for checkers.
CREATE INDEX ledger_transactions_event ON ledger_transactions (event_id);

-- The database itself keeps each transaction's sum at zero: checked at COMMIT.
CREATE FUNCTION ledger_transaction_is_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    transaction uuid;
    total numeric;
BEGIN
    transaction := CASE WHEN TG_OP = 'DELETE' THEN OLD.transaction_id ELSE NEW.transaction_id END;
    SELECT coalesce(sum(amount_minor), 0) INTO total
        FROM ledger_entries WHERE transaction_id = transaction;
    IF total <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: %', transaction, total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_is_balanced';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_is_balanced AFTER INSERT OR UPDATE OR DELETE ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_transaction_is_balanced();

-- ── settlement ──────────────────────────────────────────────────────────────────────────────
-- The frozen amount of a period, recorded before the payout is asked for; its id is the payout's
-- key at the bank. Once a period and event.
CREATE TABLE settlements (
    id uuid PRIMARY KEY,
    event_id uuid NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    period bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    account text NOT NULL,
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'paid', 'refused')),
    -- Tokens of the leader that recorded it and of the leader that saw it paid.
    fence_token bigint NOT NULL,
    paid_fence_token bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paid_at timestamptz,
    -- When the bank was last asked in vain: it did not answer, or it refused.
    tried_at timestamptz,
    UNIQUE (event_id, period)
);
-- Serves: the payouts to be made, first those that were not tried yet, then those longest ago.
CREATE INDEX settlements_due ON settlements (tried_at NULLS FIRST, created_at) WHERE state = 'due';
-- Serves: refusals in a row.
CREATE INDEX settlements_refused ON settlements (event_id, period) WHERE state = 'refused';
-- How often in a row the bank refused the payouts of an event: since the last one that it made.
CREATE VIEW settlement_refusals AS
    SELECT event_id, count(*) AS in_a_row, max(tried_at) AS last_at FROM settlements AS refused
    WHERE state = 'refused' AND NOT EXISTS (
        SELECT FROM settlements AS paid
        WHERE paid.event_id = refused.event_id AND paid.period > refused.period
            AND paid.state = 'paid')
    GROUP BY event_id;

-- ── the outbox ──────────────────────────────────────────────────────────────────────────────
-- A row is done when its effect is recorded (delivered_at), not when it was sent.
CREATE TABLE outbox_groups (
    destination text NOT NULL,
    group_id uuid NOT NULL,
    last_sequence bigint NOT NULL,
    PRIMARY KEY (destination, group_id)
);
CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    destination text NOT NULL CHECK (destination IN ('payments', 'tickets')),
    group_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    kind text NOT NULL CHECK (kind IN ('charge', 'refund', 'render_tickets')),
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sends integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    -- Token of the leader that sent it last.
    fence_token bigint,
    delivered_at timestamptz,
    dead_at timestamptz,
    -- How often it had been sent when it was last redriven: a dead letter of one of those sends is
    -- history and does not make the row dead again.
    redriven_sends integer NOT NULL DEFAULT 0,
    UNIQUE (destination, group_id, sequence)
);
-- Serves: the relay (what is due), the backlog gauge, and "is there a lower one in the group".
CREATE INDEX outbox_undelivered ON outbox (destination, group_id, sequence) WHERE delivered_at IS NULL;
CREATE INDEX outbox_due ON outbox (destination, id) WHERE delivered_at IS NULL AND dead_at IS NULL;
-- Serves: pruning of delivered rows.
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;

-- ── the leader's fence ──────────────────────────────────────────────────────────────────────
-- The token only ever grows, whatever happens to etcd: it is minted here.
CREATE TABLE leader_fence (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    minted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO leader_fence DEFAULT VALUES;
-- Each task stores the token of the leader that ran it last, in the transaction of its effect.
-- `report` is what the leader says of the task's runs every few seconds, for the other replicas.
CREATE TABLE leader_tasks (
    task text PRIMARY KEY,
    fence_token bigint NOT NULL,
    runs bigint NOT NULL DEFAULT 0,
    last_effect_at timestamptz,
    report jsonb
);
CREATE FUNCTION fence_token_never_decreases() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.fence_token < OLD.fence_token THEN
        RAISE EXCEPTION 'fence token % is older than %', NEW.fence_token, OLD.fence_token
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_token_never_decreases';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fence_token_never_decreases BEFORE UPDATE ON leader_tasks
    FOR EACH ROW EXECUTE FUNCTION fence_token_never_decreases();
-- History of terms, for people and for the checker: one row a minted token.
CREATE TABLE leader_terms (
    token bigint PRIMARY KEY,
    holder text NOT NULL,
    minted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ── keys of requests ────────────────────────────────────────────────────────────────────────
CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint,
    location text,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, operation, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- ── what the back office may do ─────────────────────────────────────────────────────────────
-- The role exists on every real installation; a scratch database of a test may lack it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'worker') THEN
        GRANT USAGE ON SCHEMA public TO worker;
        GRANT SELECT ON events, hold_seats, order_seats, settlement_refusals, idempotency_keys TO worker;
        -- To lock an event that is pruned takes the right to change a column of it.
        GRANT UPDATE (created_at) ON events TO worker;
        GRANT SELECT, UPDATE ON seats, holds, orders TO worker;
        GRANT SELECT, INSERT, UPDATE ON tickets, ledger_transactions, ledger_entries, settlements,
            outbox_groups, outbox, leader_fence, leader_tasks, leader_terms TO worker;
        -- Pruning of what no longer serves.
        GRANT DELETE ON events, seats, holds, orders, settlements, outbox, outbox_groups, leader_terms,
            idempotency_keys, ledger_transactions, ledger_entries TO worker;
    END IF;
END $$;
