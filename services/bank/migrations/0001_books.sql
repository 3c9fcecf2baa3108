-- The books. A movement is written once and never changed; its key is never forgotten.
-- Ids are UUIDv7 made while the one writer holds the books, so they grow in the order of commits
-- and serve as the cursor of a page as well.
CREATE TABLE movements (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('charge', 'refund', 'payout')),
    key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
    outcome TEXT NOT NULL CHECK (outcome IN ('succeeded', 'declined')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL CHECK (length(currency) = 3),
    reference BLOB NOT NULL CHECK (length(reference) = 16),
    -- The card of a charge or the account of a payout.
    number TEXT CHECK ((number IS NULL) = (kind = 'refund')),
    -- The charge that a refund gives back.
    charge_id BLOB REFERENCES movements (id) CHECK ((charge_id IS NOT NULL) = (kind = 'refund')),
    -- Milliseconds since 1970, UTC.
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One key, one movement: finds the first answer of a repetition.
CREATE UNIQUE INDEX movements_key ON movements (kind, key);
-- Serves the list of one reference; the id follows by itself, so it comes in order.
CREATE INDEX movements_reference ON movements (reference);
-- Serves the sum of what was given back of a charge.
CREATE INDEX movements_charge ON movements (charge_id) WHERE charge_id IS NOT NULL;

CREATE TRIGGER movements_are_not_changed BEFORE UPDATE ON movements
BEGIN SELECT RAISE(ABORT, 'a movement is never changed'); END;
CREATE TRIGGER movements_are_not_deleted BEFORE DELETE ON movements
BEGIN SELECT RAISE(ABORT, 'a movement is never deleted'); END;

-- What the succeeded movements come to, kept in the transactions that write them down.
CREATE TABLE balances (
    currency TEXT NOT NULL PRIMARY KEY,
    charged_minor INTEGER NOT NULL DEFAULT 0,
    refunded_minor INTEGER NOT NULL DEFAULT 0,
    paid_out_minor INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Keys that were failed once on purpose and have no movement yet.
CREATE TABLE failed_keys (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
