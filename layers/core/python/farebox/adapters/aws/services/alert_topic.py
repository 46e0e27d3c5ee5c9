"""Alerts on an SNS topic: words for mailboxes, the whole document for webhooks, attributes to filter by.

Source: SNS API reference, Publish, query protocol, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from farebox.adapters.aws.codec import json_text
from farebox.adapters.aws.services.call import AwsService
from farebox.ports.behind import Alert

SUBJECT_MAX = 100
"""Characters; SNS refuses longer ones, and any that are not printable ASCII."""

ATTRIBUTES = ("budget", "threshold", "workspace", "provider", "model", "queue")
"""Fields of an alert's document that subscriptions may filter by, beside `kind`; callers choose no names."""

ATTRIBUTE_MAX = 256
_DOCUMENT_PROTOCOLS = ("http", "https", "lambda", "sqs", "firehose")
_HEADERS = [
    (b"accept-encoding", b"identity"),
    (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
]


class SnsAlertTopic:
    """Fills `ports.AlertTopic`."""

    def __init__(self, service: AwsService, topic_arn: str) -> None:
        self._service, self._topic_arn = service, topic_arn

    async def publish(self, alert: Alert) -> None:
        """Hand an alert on; each kind of subscription gets what it can show. Raises `StoreFault`."""
        document = json_text(alert.document)
        message = {"default": alert.text, **dict.fromkeys(_DOCUMENT_PROTOCOLS, document)}
        form = {
            "Action": "Publish",
            "Version": "2010-03-31",
            "TopicArn": self._topic_arn,
            "Subject": subject_line(alert.subject),
            "Message": json_text(message),
            "MessageStructure": "json",
            **dict(_attributes({"kind": alert.kind, **alert.document})),
        }
        await self._service.post(_HEADERS, urlencode(form).encode())


def subject_line(subject: str) -> str:
    """Make a subject that SNS takes."""
    text = "".join(each if " " <= each <= "~" else "?" for each in " ".join(subject.split()))
    return text if len(text) <= SUBJECT_MAX else text[: SUBJECT_MAX - 3] + "..."


def _attributes(document: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    named = [(name, document.get(name)) for name in ("kind", *ATTRIBUTES)]
    given = [(name, value) for name, value in named if value not in (None, "")]
    for number, (name, value) in enumerate(given, start=1):
        entry = f"MessageAttributes.entry.{number}"
        yield f"{entry}.Name", name
        yield f"{entry}.Value.DataType", "Number" if isinstance(value, int) else "String"
        yield f"{entry}.Value.StringValue", str(value)[:ATTRIBUTE_MAX]
