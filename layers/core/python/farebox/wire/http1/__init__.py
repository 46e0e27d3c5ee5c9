"""HTTP/1.1 as a client: one pool, one exchange at a time on each connection."""

from farebox.wire.http1.transport import Http1Transport

__all__ = ["Http1Transport"]
