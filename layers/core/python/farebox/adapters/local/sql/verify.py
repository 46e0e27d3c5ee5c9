"""The proof that sums are sums: every bucket recomputed from the ledger rows and the open holds."""

from __future__ import annotations

import sqlite3

# Both sides of each comparison are grouped in SQLite, which lets go of the interpreter's lock meanwhile.
_SETTLED = """
    WITH booked AS (
        SELECT json_extract(entry.value, '$[0]') AS budget, json_extract(entry.value, '$[1]') AS unit,
            json_extract(entry.value, '$[2]') AS bucket, json_extract(entry.value, '$[3]') AS window_key,
            sum(json_extract(entry.value, '$[4]')) AS amount
        FROM ledger, json_each(ledger.entries) AS entry GROUP BY 1, 2, 3, 4
    )
    SELECT 'settled', budget, unit, bucket, window_key, bucket.settled, ifnull(booked.amount, 0)
    FROM bucket LEFT JOIN booked USING (budget, unit, bucket, window_key)
    WHERE bucket.settled <> ifnull(booked.amount, 0)
    UNION ALL
    SELECT 'settled', budget, unit, bucket, window_key, 0, booked.amount
    FROM booked LEFT JOIN bucket USING (budget, unit, bucket, window_key)
    WHERE bucket.settled IS NULL AND booked.amount <> 0
"""

_HELD = """
    WITH open AS (
        SELECT json_extract(touch.value, '$.budget.name') AS budget,
            json_extract(touch.value, '$.budget.unit') AS unit,
            json_extract(touch.value, '$.bucket') AS bucket,
            json_extract(touch.value, '$.window.key') AS window_key,
            sum(json_extract(touch.value, '$.amount')) AS amount
        FROM hold, json_each(hold.touches) AS touch GROUP BY 1, 2, 3, 4
    )
    SELECT 'held', budget, unit, bucket, window_key, bucket.held, ifnull(open.amount, 0)
    FROM bucket LEFT JOIN open USING (budget, unit, bucket, window_key)
    WHERE bucket.held <> ifnull(open.amount, 0)
    UNION ALL
    SELECT 'held', budget, unit, bucket, window_key, 0, open.amount
    FROM open LEFT JOIN bucket USING (budget, unit, bucket, window_key)
    WHERE bucket.held IS NULL AND open.amount <> 0
"""

_BOTH = "SELECT request_id FROM hold JOIN ledger ON ledger.id = hold.request_id ORDER BY request_id"


def drifts(connection: sqlite3.Connection) -> list[str]:
    """Give one line for each bucket whose sums do not match, and for each request both open and settled."""
    found = [*connection.execute(_SETTLED).fetchall(), *connection.execute(_HELD).fetchall()]
    source = {"settled": "ledger rows", "held": "open holds"}
    lines = [
        f"budget '{budget}', bucket '{bucket}', window {window}: {what} is {stored},"
        f" but {source[what]} make {expected} ({'picodollars' if unit == 'usd' else unit})"
        for what, budget, unit, bucket, window, stored, expected in sorted(found)
    ]
    both = connection.execute(_BOTH).fetchall()
    return lines + [f"request {request_id} is settled and still holds" for (request_id,) in both]
