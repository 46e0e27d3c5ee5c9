-- Version 1. Times are microseconds since 1970 UTC; amounts are picodollars or tokens, by `unit`.

CREATE TABLE key (
    id TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER,
    document TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX key_open_name ON key (workspace, name) WHERE revoked_at_us IS NULL;
CREATE INDEX key_name ON key (name, id);

-- Several secrets may open one key while a rotation's overlap lasts.
CREATE TABLE key_secret (
    hash BLOB PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES key (id),
    valid_until_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX key_secret_key ON key_secret (key_id);

CREATE TABLE admin_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    revoked_at_us INTEGER,
    document TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX admin_key_open_name ON admin_key (name) WHERE revoked_at_us IS NULL;

CREATE TABLE resource (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    updated_at_us INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;

INSERT INTO policy (one, version) VALUES (1, 0);

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;

-- The window is part of the key: a new period starts at nothing, without a job.
-- The unit is too, so that a budget turned from dollars to tokens never adds one to the other.
-- The limit is not here: it lives in the policy. `exhausted_limit` is the limit up to which the bucket is shut.
CREATE TABLE bucket (
    budget TEXT NOT NULL,
    unit TEXT NOT NULL,
    bucket TEXT NOT NULL,
    window_key TEXT NOT NULL,
    window_start_us INTEGER,
    window_end_us INTEGER,
    settled INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    exhausted_limit INTEGER,
    PRIMARY KEY (budget, unit, bucket, window_key)
) STRICT, WITHOUT ROWID;

-- `machine`, `pid` and `started` name the process that opened the hold; null where that cannot be known.
CREATE TABLE hold (
    request_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    lease_until_us INTEGER NOT NULL,
    machine TEXT,
    pid INTEGER,
    started TEXT,
    touches TEXT NOT NULL,
    draft TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `record` is the whole record; the other columns are what reports filter, group and sum.
-- `entries` is [[budget, unit, bucket, window_key, amount], ...] as booked; a bucket's `settled` is their sum.
-- A correction carries the record that replaces the one it corrects, and in `entries` the difference only.
-- A reset has entries and no record.
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('request', 'correction', 'reset')),
    corrects TEXT,
    at_us INTEGER NOT NULL,
    workspace TEXT,
    key TEXT,
    user TEXT,
    model TEXT,
    provider TEXT,
    session_id TEXT,
    metadata TEXT,
    outcome TEXT,
    is_error INTEGER,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_5m_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost_picodollars INTEGER,
    charged_picodollars INTEGER NOT NULL DEFAULT 0,
    entries TEXT NOT NULL,
    record TEXT,
    CHECK ((kind = 'reset') = (record IS NULL)),
    CHECK ((kind = 'correction') = (corrects IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX ledger_corrects ON ledger (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX ledger_at ON ledger (at_us, sequence);
CREATE INDEX ledger_session ON ledger (session_id, at_us, sequence) WHERE session_id IS NOT NULL;

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
