"""The CLI's way to the admin plane: finds it, asks it, and words what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from farebox.cli.access.credentials import CREDENTIALS_FILE, read_credentials
from farebox.compose.settings import Settings, load_settings, process_environment

TIMEOUT_S = 120

Answer = dict[str, Any]  # whatever the admin plane says: JSON


class GatewayRefused(OSError):
    """The admin plane answered, and said no; its words are the message."""


class GatewayUnreachable(ConnectionError):
    """No admin plane answered."""


class AdminClient:
    """One admin plane and the key to it."""

    def __init__(self, url: str, admin_key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {admin_key}", "Accept": "application/json"}
        self._opener = _opener(url)

    def __repr__(self) -> str:
        return f"AdminClient({self._url})"

    def get(self, *path: str, **query: object) -> Answer:
        """Read something. Raises `GatewayRefused` and `GatewayUnreachable`, as do the others."""
        return self._ask("GET", path, query)

    def get_all(self, *path: str, **query: object) -> Answer:
        """Read every page of a list, and give it as one."""
        answer = self.get(*path, **query)
        rows = answer["rows"]
        while answer["next"] is not None:
            answer = self.get(*path, **{**query, "cursor": answer["next"]})
            rows += answer["rows"]
        return {**answer, "rows": rows}

    def post(self, *path: str, body: Mapping[str, object] | bytes = b"", **query: object) -> Answer:
        """Make something happen. A mapping goes as JSON, bytes as they are."""
        return self._ask("POST", path, query, body)

    def delete(self, *path: str, **query: object) -> Answer:
        """Remove or revoke something."""
        return self._ask("DELETE", path, query)

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, object],
        body: Mapping[str, object] | bytes = b"",
    ) -> Answer:
        given = {name: value for name, value in query.items() if value is not None}
        steps = "/".join(quote(step, safe="") for step in path)
        url = f"{self._url}/v1/{steps}" + (f"?{urlencode(given)}" if given else "")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/yaml" if isinstance(body, bytes) else "application/json"
        request = Request(url, data or None, {**self._headers, "Content-Type": kind}, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return _decoded(answer.read(), self._url)
        except HTTPError as error:
            with error:
                raise GatewayRefused(_refusal_text(error.code, error.read(), self._url)) from None
        except (URLError, OSError) as error:
            raise GatewayUnreachable(_silence_text(self._url, _reason(error))) from None


def connect(data: Path | None, *, url: str | None = None) -> AdminClient:
    """Find the admin plane: a data directory that was named, else the environment, else the usual directory.

    `url` goes before the environment's. The key of a credentials file is never sent to another address than
    the file's own.
    Raises `GatewayUnreachable` when neither says where.
    """
    settings = load_settings(process_environment())
    if data is not None:
        settings = Settings(data=str(data))
    if url is not None:
        settings = replace(settings, url=url.rstrip("/"))
    if settings.url and settings.admin_key:
        return AdminClient(settings.url, settings.admin_key)
    path = Path(settings.data) / CREDENTIALS_FILE
    credentials = read_credentials(path)
    if credentials is None:
        raise GatewayUnreachable(
            f"There is no {path}: start `farebox serve` here, name its directory with --data, "
            "or set FAREBOX_URL and FAREBOX_ADMIN_KEY."
        )
    if settings.url and settings.url != credentials.admin_url.rstrip("/"):
        where = f"{'FAREBOX_URL' if url is None else '--url'} is {settings.url}"
        raise GatewayUnreachable(f"{where}; set FAREBOX_ADMIN_KEY to the admin key for it.")
    return AdminClient(credentials.admin_url.rstrip("/"), settings.admin_key or credentials.admin_key)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the admin key to wherever it points."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    """Go through the usual proxies, except to this machine."""
    direct = [ProxyHandler({})] if _is_loopback(urlsplit(url).hostname or "") else []
    return build_opener(_NoRedirects, *direct)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _decoded(body: bytes, url: str) -> Answer:
    if not body:
        return {}
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GatewayUnreachable(f"What answers at {url} is not a farebox admin plane.")
    return answer


def _refusal_text(status: int, body: bytes, url: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{url} answered with HTTP status {status} and no explanation."


def _silence_text(url: str, reason: str) -> str:
    silence = f"No gateway answers at {url} ({reason})."
    if _is_loopback(urlsplit(url).hostname or ""):
        return f"{silence} Is `farebox serve` running?"
    return (
        f"{silence} Check that this is the AdminUrl of the stage that you mean, that it is still deployed, "
        "and that your network and proxy let you there."
    )


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason).lower()
