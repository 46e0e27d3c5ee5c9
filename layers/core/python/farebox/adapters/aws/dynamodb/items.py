"""Items in and out: the operations of the client that the adapters use, whole answers only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from farebox.adapters.aws.dynamodb.actions import Action, Key, expressed
from farebox.adapters.aws.dynamodb.attributes import Item, Value, unwrapped_item, wrapped_item
from farebox.adapters.aws.dynamodb.client import DynamoClient
from farebox.domain.errors import StoreFault

MAX_ACTIONS = 100
"""Of one transaction."""

_MAX_KEYS = 100
_MAX_ROUNDS = 12


class Items:
    """Reads see every write that was acknowledged, except through an index, which lags."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client

    def token(self) -> str:
        """Give a new random name for one attempt to change something."""
        return self._client.token()

    async def get(self, table: str, key: Key) -> Item | None:
        """Read one item."""
        payload = {"TableName": table, "Key": wrapped_item(key), "ConsistentRead": True}
        item = (await self._client.call("GetItem", payload)).get("Item")
        return unwrapped_item(item) if item else None

    async def get_many(self, table: str, keys: Sequence[Key], *, names: Sequence[str] = ()) -> list[Item]:
        """Read those of the items that are there, in no order; `names` are the attributes wanted, or all."""
        projection = ", ".join(f"#{name}" for name in names)
        asked: dict[str, Any] = {"ConsistentRead": True}
        if projection:
            asked |= {"ProjectionExpression": projection, **expressed(projection, values={})}
        found: list[Item] = []
        for start in range(0, len(keys), _MAX_KEYS):
            wire_keys = [wrapped_item(key) for key in keys[start : start + _MAX_KEYS]]
            found += await self._batch(table, {**asked, "Keys": wire_keys})
        return found

    async def query(
        self,
        table: str,
        condition: str,
        *,
        index: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        **values: Value,
    ) -> AsyncIterator[Item]:
        """Walk through the items of one partition in the order of their sort key."""
        payload: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": condition,
            "ScanIndexForward": not descending,
            **expressed(condition, values=values),
        }
        payload |= {"ConsistentRead": True} if index is None else {"IndexName": index}
        if limit is not None:
            payload["Limit"] = limit
        left = limit
        async for page in self._pages("Query", payload):
            for item in page:
                if left == 0:
                    return
                left = None if left is None else left - 1
                yield item

    async def everything(self, table: str) -> AsyncIterator[Item]:
        """Walk through a whole table, in no order: for audits alone."""
        async for page in self._pages("Scan", {"TableName": table, "ConsistentRead": True}):
            for item in page:
                yield item

    async def write(self, action: Action) -> None:
        """Do one action by itself. Raises `Unmet`, also where an earlier try of this call did it already."""
        await self._client.call(f"{action.kind}Item", action.body)

    async def change(self, action: Action) -> Item:
        """Do one update by itself and give the item as it is afterwards. Raises `Unmet` as `write` does."""
        answer = await self._client.call("UpdateItem", {**action.body, "ReturnValues": "ALL_NEW"})
        return unwrapped_item(answer["Attributes"])

    async def transact(self, actions: Sequence[Action]) -> None:
        """Do all of the actions or none. Raises `Unmet` with a reason for each."""
        if len(actions) > MAX_ACTIONS:
            raise StoreFault(f"one step would take {len(actions)} writes of at most {MAX_ACTIONS}")
        payload = {
            "TransactItems": [{action.kind: action.body} for action in actions],
            "ClientRequestToken": self._client.token(),
        }
        await self._client.call("TransactWriteItems", payload)

    async def pause(self) -> None:
        """Wait a little while, at random, where another process was quicker."""
        await self._client.pause(1)

    async def _batch(self, table: str, asked: dict[str, Any]) -> list[Item]:
        """Read one batch; what is left out, for its size or for want of capacity, is asked for again."""
        found: list[Item] = []
        for number in range(1, _MAX_ROUNDS + 1):
            answer = await self._client.call("BatchGetItem", {"RequestItems": {table: asked}})
            items = answer["Responses"].get(table, ())
            found += [unwrapped_item(item) for item in items]
            left = (answer.get("UnprocessedKeys") or {}).get(table)
            if not left:
                return found
            asked = left
            if not items:
                await self._client.pause(number)
        raise StoreFault(f"BatchGetItem: {len(asked['Keys'])} items were not to be had")

    async def _pages(self, operation: str, payload: dict[str, Any]) -> AsyncIterator[list[Item]]:
        while True:
            answer = await self._client.call(operation, payload)
            yield [unwrapped_item(item) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return
            payload = {**payload, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
