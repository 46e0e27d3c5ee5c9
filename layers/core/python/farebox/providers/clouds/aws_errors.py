"""What the errors of AWS services that serve Claude are called, and what they mean.

Source: botocore's model of bedrock-runtime; "Common errors", docs.aws.amazon.com. Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from farebox.providers.clouds.errors import (
    API,
    CREDENTIAL,
    INVALID,
    NOT_FOUND,
    OVERLOADED,
    RATE_LIMIT,
    TIMEOUT,
    CloudError,
    Kind,
    read_document,
    text_of,
)
from farebox.wire.headers import find
from farebox.wire.http import HttpAnswer

AWS_ERRORS: Mapping[str, Kind] = {
    "ThrottlingException": RATE_LIMIT,
    "TooManyRequestsException": RATE_LIMIT,
    "ServiceQuotaExceededException": RATE_LIMIT,
    "ModelNotReadyException": OVERLOADED,
    "ServiceUnavailableException": OVERLOADED,
    "InternalServerException": API,
    "InternalFailure": API,
    "ModelErrorException": API,
    "ModelStreamErrorException": API,
    "ModelTimeoutException": TIMEOUT,
    "ValidationException": INVALID,
    "ResourceNotFoundException": NOT_FOUND,
    "AccessDeniedException": CREDENTIAL,
    "ExpiredTokenException": CREDENTIAL,
    "IncompleteSignatureException": CREDENTIAL,
    "InvalidSignatureException": CREDENTIAL,
    "MissingAuthenticationTokenException": CREDENTIAL,
    "UnrecognizedClientException": CREDENTIAL,
}

_IDENTITY = re.compile(r"arn:[\w-]+:(?:iam|sts)::[^\s\"',]*[^\s\"',.;]")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA|ABSK)[\w+/=-]{12,}")


def aws_error(answer: HttpAnswer, body: bytes) -> CloudError:
    """Read an error of a service that speaks JSON over REST, or Anthropic's envelope as such a service says
    it.
    """
    document = read_document(body)
    inner = document.get("error")
    if isinstance(inner, dict):
        document = {**inner, "code": text_of(inner, "code", "type")}
    named = (find(answer.headers, b"x-amzn-errortype") or b"").decode("latin-1")
    code = (named.partition(":")[0] or text_of(document, "__type", "code")).rpartition("#")[2]
    words = text_of(document, "message", "Message") or body.decode("utf-8", "replace")[:2_000]
    return CloudError(answer.status, code, _without_identity(words))


def aws_exception(name: str, payload: bytes) -> CloudError:
    """Read an exception that came as a frame of a stream, where its name begins in lower case."""
    words = text_of(read_document(payload), "message", "Message", "originalMessage")
    return CloudError(500, name[:1].upper() + name[1:], _without_identity(words))


def _without_identity(words: str) -> str:
    """Hide who farebox is in its account: AWS names roles and keys to whom it refuses, not to the client.

    A refused signature is told with all that was signed, below a blank line; the session's token is among it.
    """
    told = words.partition("\n\n")[0] if "Canonical String" in words else words
    return _ACCESS_KEY.sub("(an access key)", _IDENTITY.sub("(farebox's role)", told))
