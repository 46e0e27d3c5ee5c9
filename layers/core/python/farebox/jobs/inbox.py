"""What a batch of queued messages is about: events of the bus, read out of the messages that carry them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from farebox.jobs.relay import row_ids


class _Envelope(msgspec.Struct):
    kind: str = msgspec.field(name="detail-type")
    detail: dict[str, Any]


_log = logging.getLogger("farebox.jobs")
_envelope = msgspec.json.Decoder(_Envelope).decode


class Inbox(Struct, frozen=True):
    """Ids of ledger rows by the message's own id, and the messages that could not be read, with why."""

    rows: Mapping[str, Sequence[str]]
    unreadable: Mapping[str, str]


def read_inbox(event: Mapping[str, Any]) -> Inbox:
    """Read what Lambda hands over from a queue behind a rule.

    Source: Lambda developer guide, "Using Lambda with Amazon SQS", and EventBridge user guide, "Events",
    read 2026-11.
    """
    rows: dict[str, Sequence[str]] = {}
    unreadable: dict[str, str] = {}
    for record in event["Records"]:
        message: str = record["messageId"]
        try:
            envelope = _envelope(record["body"])
            rows[message] = row_ids(envelope.kind, envelope.detail)
        except (msgspec.MsgspecError, ValueError) as error:
            unreadable[message] = str(error)
    return Inbox(rows, unreadable)


def log_unreadable(inbox: Inbox) -> None:
    """Say what cannot be read, without what it holds: it might be anybody's."""
    for message, why in inbox.unreadable.items():
        _log.error("message %s cannot be read: %s", message, why)
