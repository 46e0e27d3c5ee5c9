"""One answer on its way out: ASGI messages as a prelude, 8 NUL bytes, and chunks that leave at once."""

from __future__ import annotations

import binascii
from collections.abc import MutableMapping
from typing import Any

import msgspec

from farebox.http.servers.lambda_runtime.api import (
    ERROR_BODY,
    ERROR_TYPE,
    Failure,
    Invocation,
    RuntimeApi,
    accepted,
)
from farebox.wire.http import Headers
from farebox.wire.http1.upload import Upload

NULS = bytes(8)
# Lambda frames the answer anew.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})


class Answer:
    """Nothing sent, then begun (the client has status and headers), then whole; `close` ends it anywhere."""

    def __init__(self, api: RuntimeApi, invocation: Invocation) -> None:
        self._api, self._invocation = api, invocation
        self._upload: Upload | None = None
        self.is_whole = False

    @property
    def has_begun(self) -> bool:
        """Whether status and headers are out, so that all that can still be said is a cut."""
        return self._upload is not None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take an ASGI message. The last piece of a body is with the client before this returns.

        Raises `UpstreamFault` where Lambda has hung up.
        """
        if message["type"] == "http.response.body":
            upload = self._upload
            if upload is None or self.is_whole:
                raise RuntimeError("a piece of body outside of an answer")
            upload.write(message.get("body", b""))
            if not message.get("more_body", False):
                self.is_whole = True
                upload.end()
            elif not upload.has_room:
                await upload.wait_for_room()
        elif message["type"] == "http.response.start":
            if self._upload is not None:
                raise RuntimeError("a second answer")
            self._upload = await self._api.respond(self._invocation)
            self._upload.write(prelude(message["status"], message.get("headers", [])) + NULS)
        else:
            raise RuntimeError(f"no message of an HTTP answer: {message['type']}")

    async def close(self, failure: Failure) -> bool:
        """End what is not whole, the failure being the reason; say whether Lambda took the answer.

        Raises `UpstreamFault` and `RuntimeApiFault`.
        """
        upload = self._upload
        if upload is None:
            await self._api.fail(self._invocation, failure)
            return True
        if not self.is_whole:
            self.is_whole = True
            document = binascii.b2a_base64(failure.document(), newline=False)
            upload.end([(ERROR_TYPE, failure.type.encode()), (ERROR_BODY, document)])
        return await accepted(await upload.answer())


def prelude(status: int, headers: Headers) -> bytes:
    """Write the JSON that stands before the body. Values of one name are joined, cookies stand apart."""
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in headers:
        name, text = name.lower(), value.decode("latin-1")
        if name == b"set-cookie":
            cookies.append(text)
        elif name not in _FRAMING:
            key = name.decode("latin-1")
            joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return msgspec.json.encode({"statusCode": status, "headers": joined, "cookies": cookies})
