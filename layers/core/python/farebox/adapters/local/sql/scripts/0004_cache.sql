-- Version 4. What an answer that was given again has saved, by row, and answers that a config asked to keep. `data` is the entry itself, packed; a large one is in `file`
-- of the folder `cache` beside the database instead.

ALTER TABLE ledger ADD COLUMN saved_picodollars INTEGER NOT NULL DEFAULT 0;

CREATE TABLE cache_entry (
    key BLOB PRIMARY KEY,
    stored_at_us INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    file TEXT,
    data BLOB,
    CHECK ((data IS NULL) <> (file IS NULL))
) STRICT;

CREATE INDEX cache_entry_age ON cache_entry (stored_at_us, size_bytes);
CREATE INDEX cache_entry_end ON cache_entry (expires_at_us);
