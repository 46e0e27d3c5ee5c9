"""What the errors of AWS services that serve Claude are called, and what they mean.

Source: botocore's model of bedrock-runtime; "Common errors", docs.aws.amazon.com. Read 2026-11.
"""

from __future__ import annotations

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


def aws_error(answer: HttpAnswer, body: bytes) -> CloudError:
    """Read an error of a service that speaks JSON over REST."""
    document = read_document(body)
    named = (find(answer.headers, b"x-amzn-errortype") or b"").decode("latin-1")
    code = (named.partition(":")[0] or text_of(document, "__type", "code")).rpartition("#")[2]
    words = text_of(document, "message", "Message") or body.decode("utf-8", "replace")[:2_000]
    return CloudError(answer.status, code, words)


def aws_exception(name: str, payload: bytes) -> CloudError:
    """Read an exception that came as a frame of a stream, where its name begins in lower case."""
    words = text_of(read_document(payload), "message", "Message", "originalMessage")
    return CloudError(500, name[:1].upper() + name[1:], words)
