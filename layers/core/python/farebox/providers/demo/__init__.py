"""The built-in demo model: answers as Anthropic would, without a socket, a credential or a bill.

The same body always gives the same bytes. A line of the newest prompt that begins with `demo:` asks for
something other than the usual paragraph; `reply.PARAGRAPH` says what there is to ask for.
"""

from farebox.providers.demo.provider import DemoProvider
from farebox.providers.demo.transport import DemoTransport

__all__ = ["DemoProvider", "DemoTransport"]
