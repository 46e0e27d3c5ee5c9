-- Version 5. Circuit breakers that failed lately, and those that recovered since. `document` is the state.

CREATE TABLE breaker (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    until_us INTEGER NOT NULL
) STRICT;
