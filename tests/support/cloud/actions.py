"""What a function asks AWS for, as IAM counts it: a proxy on loopback that notes actions and tables."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from tests.support.fault_proxy import FaultProxy

SERVICES = {"DynamoDB": "dynamodb", "AWSEvents": "events", "AmazonSQS": "sqs"}
"""IAM's names of services that call themselves otherwise."""

PARTS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
"""IAM asks for the right to each part of a transaction, and for none to the transaction."""


class ActionProxy(FaultProxy):
    """Passes everything; `asked` has pairs of an action and its table's name, or '' where it has none."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.asked: set[tuple[str, str]] = set()

    async def _answer(self, request: bytes) -> bytes | None:
        head, _, body = request.partition(b"\r\n\r\n")
        targets = [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-amz-target:")]
        if not targets:
            # The query protocol has the action in the form.
            self.asked.add((f"sns:{parse_qs(body.decode())['Action'][0]}", ""))
            return await self._forward(request)
        service, _, operation = targets[0].partition(b":")[2].strip().decode().partition(".")
        name = SERVICES.get(service.partition("_")[0], service)
        self.asked |= {(f"{name}:{action}", table) for action, table in _actions(operation, json.loads(body))}
        return await super()._answer(request)


def _actions(operation: str, payload: dict[str, Any]) -> list[tuple[str, str]]:
    match operation:
        case "TransactWriteItems":
            parts = [next(iter(each.items())) for each in payload["TransactItems"]]
            return [(PARTS[part], asked["TableName"]) for part, asked in parts]
        case "TransactGetItems":
            return [("GetItem", each["Get"]["TableName"]) for each in payload["TransactItems"]]
        case "BatchGetItem":
            return [(operation, table) for table in payload["RequestItems"]]
    index = f"/{payload['IndexName']}" if "IndexName" in payload else ""
    return [(operation, payload.get("TableName", "") + index)]
