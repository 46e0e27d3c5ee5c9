-- Version 2. What rate limits count. `limit_key` is unit, length and name; `slots` is [[slot, amount], ...].
-- Rows whose `until_us` has passed count for nothing and are swept along with later requests.

CREATE TABLE rate_count (
    limit_key TEXT NOT NULL,
    bucket TEXT NOT NULL,
    slots TEXT NOT NULL,
    until_us INTEGER NOT NULL,
    PRIMARY KEY (limit_key, bucket)
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_count_until ON rate_count (until_us);

-- Places among concurrent requests, by request, and agents of a session.
CREATE TABLE rate_member (
    limit_key TEXT NOT NULL,
    bucket TEXT NOT NULL,
    member TEXT NOT NULL,
    until_us INTEGER NOT NULL,
    PRIMARY KEY (limit_key, bucket, member)
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_member_until ON rate_member (until_us);
