"""What a config may ask of a request: its metadata, its body, its path and its headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from farebox.domain.plan import Caller
from farebox.domain.routing.query import Facts
from farebox.gateway.incoming import IncomingRequest
from farebox.wire.http import Headers
from farebox.wire.messages import MessagesHead
from farebox.wire.request_body.top_level import JsonObject

_PATHNAMES = {"count_tokens": "/v1/messages/count_tokens"}
_json = msgspec.json.Decoder()


def facts_of(request: IncomingRequest, head: MessagesHead, caller: Caller) -> Facts:
    """Give the facts of a request. The key's own metadata stand over what the request says of itself."""
    return Facts(
        metadata=caller.metadata,
        params=_Params(head.fields),
        pathname=_PATHNAMES.get(request.operation, "/v1/messages"),
        headers=_Headers(request.headers),
    )


class _Headers(Mapping[str, str]):
    """The headers by name in lower case, of which most requests are asked for none either."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._read: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def _by_name(self) -> dict[str, str]:
        if self._read is None:
            self._read = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        return self._read


class _Params(Mapping[str, object]):
    """The body's fields, each read when it is first asked for: most requests are asked for none."""

    def __init__(self, fields: JsonObject) -> None:
        self._fields = fields
        self._read: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._read:
            try:
                self._read[name] = _json.decode(self._fields[name])
            except (msgspec.MsgspecError, RecursionError):
                # The provider's to refuse; for a config there is nothing to be seen.
                raise KeyError(name) from None
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)
