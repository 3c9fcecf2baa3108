-- Who may sign in. Sessions are not here: they stand in Redis.
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    role text NOT NULL CHECK (role IN ('customer', 'organiser')),
    -- argon2id in the PHC string format: parameters, salt and hash in one.
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- One account an address, however it is capitalised. Serves the sign-in as well.
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email));

-- Keys of repeated requests, with their answers; the layout is that of crates/idempotency.
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
-- Serves the pruning of keys that are older than a day.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
