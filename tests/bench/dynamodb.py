"""Rows about a deployment's store: what a request asks of DynamoDB. Counts from an emulator, and no times."""

from __future__ import annotations

import asyncio

from tests.bench.report import Row
from tests.support.cloud.toll import OF_A_KEY, USD_PER_MILLION_WRITE_UNITS, tolls
from tests.support.ministack import started

FLOOR = "without limits"


def dynamodb_rows() -> list[Row]:
    """Count for a warm gateway, two budgets, and three rate limits of the key, through the whole pipeline."""
    with started({"SERVICES": "dynamodb"}) as server:
        _, plain = asyncio.run(tolls(server.port, ()))
        _, limited = asyncio.run(tolls(server.port, OF_A_KEY))
    return [
        Row(
            "DynamoDB, trips before provider",
            "round trips in the client's wait; two budgets, three limits of the key",
            len(limited.before),
            floor_name=FLOOR,
            floor=len(plain.before),
        ),
        Row(
            "DynamoDB, trips at the end",
            "round trips before the last byte: settlement, correction of the limits",
            len(limited.after),
            floor_name=FLOOR,
            floor=len(plain.after),
        ),
        Row(
            "DynamoDB, write units",
            "a request, as charged by the emulator's rules, which are AWS's",
            limited.write_units,
            floor_name=FLOOR,
            floor=plain.write_units,
        ),
        Row(
            "DynamoDB, USD a million requests",
            f"at {USD_PER_MILLION_WRITE_UNITS} USD a million write units",
            limited.usd_per_million,
            floor_name=FLOOR,
            floor=plain.usd_per_million,
        ),
    ]
