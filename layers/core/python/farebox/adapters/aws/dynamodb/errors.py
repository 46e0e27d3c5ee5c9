"""What DynamoDB answers when it does not do as asked, sorted by what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from farebox.adapters.aws.dynamodb.attributes import Item, unwrapped_item
from farebox.wire.http import JSON_FAULTS

CONDITION = "ConditionalCheckFailed"
_NONE = "None"

# Retrying cannot help the others: they say that the request itself is wrong.
_PASSING = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_PASSING_REASONS = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_STALE_CREDENTIALS = frozenset(
    {"ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"}
)

_body = msgspec.json.Decoder(dict[str, Any]).decode


class Reason(Struct, frozen=True):
    """Why one action of a transaction did not happen; `item` is what stood there, where it was asked for."""

    code: str
    item: Item | None = None


class Unmet(Exception):
    """A condition did not hold, so nothing was written.

    There is one reason for each action of a transaction, one in all for a single write. `is_unsure` says that
    an earlier try of the same call may have been carried out all the same.
    """

    def __init__(self, reasons: Sequence[Reason], *, is_unsure: bool = False) -> None:
        super().__init__(", ".join(reason.code for reason in reasons))
        self.reasons = tuple(reasons)
        self.is_unsure = is_unsure

    def failed(self, action: int) -> bool:
        """Say whether this action's own condition did not hold."""
        return self.reasons[action].code == CONDITION

    def item(self, action: int) -> Item | None:
        """Give what stood where this action wanted to write."""
        return self.reasons[action].item


class Failure(Struct, frozen=True):
    """An answer that is not a success."""

    status: int
    code: str
    message: str
    reasons: tuple[Reason, ...] = ()

    @property
    def is_unmet(self) -> bool:
        """Whether a condition is the cause, which no retry changes."""
        return any(reason.code == CONDITION for reason in self.reasons)

    @property
    def is_passing(self) -> bool:
        """Whether the same request may do better a little later."""
        if self.code == "TransactionCanceledException":
            causes = {reason.code for reason in self.reasons} - {_NONE}
            return bool(causes) and causes <= _PASSING_REASONS
        return self.status >= 500 or self.code in _PASSING

    @property
    def is_unsure(self) -> bool:
        """Whether the request may have been carried out nevertheless."""
        return self.status >= 500

    @property
    def is_stale_credentials(self) -> bool:
        """Whether fresh credentials may help."""
        return self.code in _STALE_CREDENTIALS


def failure_of(status: int, body: bytes) -> Failure:
    """Read an error's body; one that is no JSON came from something in between."""
    try:
        fault = _body(body)
    except JSON_FAULTS:
        return Failure(status, "NoAnswer", "the answer is not DynamoDB's")
    code = str(fault.get("__type", "Unknown")).rpartition("#")[2]
    message = str(fault.get("message") or fault.get("Message") or "")
    if code == "ConditionalCheckFailedException":
        return Failure(status, code, message, (Reason(CONDITION, _item(fault)),))
    reasons = tuple(
        Reason(str(reason.get("Code", _NONE)), _item(reason))
        for reason in fault.get("CancellationReasons") or ()
    )
    return Failure(status, code, message, reasons)


def _item(fault: dict[str, Any]) -> Item | None:
    item = fault.get("Item")
    return unwrapped_item(item) if item else None
