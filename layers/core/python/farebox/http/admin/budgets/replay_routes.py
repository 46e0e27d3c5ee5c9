"""Books requests from the log lines that were written while the store was away."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from farebox.domain.budget import Touch
from farebox.domain.config import Policy
from farebox.domain.errors import ConfigInvalid
from farebox.domain.record import Billing, RequestRecord, booked_on
from farebox.http.admin.ports import AdminPorts


class Unsettled(BaseModel):
    """Records as the log has them."""

    model_config = ConfigDict(extra="forbid")
    records: list[dict[str, Any]]


def replay_router(ports: AdminPorts) -> APIRouter:
    """Make the route. It books through the ledger that `ports` carry."""
    router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

    @router.post("/replay")
    async def replay(unsettled: Unsettled) -> dict[str, int]:
        """Book records as the log has them. One that is in the ledger already changes nothing."""
        policy = await ports.policies.current()
        read = [_record(position, fields) for position, fields in enumerate(unsettled.records)]
        for record in read:
            await ports.ledger.settle(record.id, record, _booked(record, policy))
        return {"replayed": len(read)}

    return router


def _record(position: int, fields: dict[str, Any]) -> RequestRecord:
    try:
        return msgspec.convert(fields, RequestRecord)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"records[{position}]", f"is not a record as farebox logs it ({error})") from None


def _booked(record: RequestRecord, policy: Policy) -> tuple[Touch, ...]:
    is_subscription = record.billing is Billing.SUBSCRIPTION
    budgets = policy.budgets_of(record.session_id, record.at)
    counted = [budget for budget in budgets if budget.include_subscription or not is_subscription]
    return booked_on(counted, record)
