"""How often the client waits for the store, and what a request's writes cost, as the documentation says."""

import pytest

from tests.support.cloud.toll import OF_A_KEY, OF_ALL, Toll, tolls
from tests.support.ministack import Ministack

GET, BATCH, UPDATE, TRANSACT = "GetItem", "BatchGetItem", "UpdateItem", "TransactWriteItems"


@pytest.mark.parametrize(
    ("rate_limits", "toll"),
    [
        ((), Toll((TRANSACT,), (TRANSACT,), 23)),
        (OF_A_KEY, Toll((UPDATE, TRANSACT), (TRANSACT, UPDATE), 25)),
        (OF_A_KEY + OF_ALL, Toll((BATCH, TRANSACT, TRANSACT), (TRANSACT, UPDATE), 28)),
    ],
)
async def test_a_request_waits_for_the_store_as_often_as_is_documented(
    ministack: Ministack, rate_limits: tuple[object, ...], toll: Toll
) -> None:
    first, later = await tolls(ministack.port, rate_limits)
    assert later == toll
    # The policy and the key are read; the first counters of a key take one try more.
    assert first.before[:2] == (GET, GET)
    assert len(first.before) <= len(later.before) + 3
