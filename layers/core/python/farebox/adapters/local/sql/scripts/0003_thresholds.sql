-- Which thresholds were crossed. The limit is part of the key: a raised limit is crossed anew.
-- `document` is the whole crossing; `told_at_us` is null until everybody was told.
CREATE TABLE threshold (
    budget TEXT NOT NULL,
    unit TEXT NOT NULL,
    bucket TEXT NOT NULL,
    window_key TEXT NOT NULL,
    limit_amount INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    decided_at_us INTEGER NOT NULL,
    told_at_us INTEGER,
    document TEXT NOT NULL,
    PRIMARY KEY (budget, unit, bucket, window_key, limit_amount, threshold)
) STRICT, WITHOUT ROWID;

CREATE INDEX threshold_untold ON threshold (decided_at_us, threshold) WHERE told_at_us IS NULL;
