"""Calls Portkey's own SDK as told on standard input, line by line. It runs in an environment apart.

A line is {"client": arguments of Portkey(..), "call": dotted name of a method, "arguments": {..}}; the answer
to it is {"answer", "headers"} or {"error", "status", "message"}.
"""

from __future__ import annotations

import json
import sys
import warnings
from operator import attrgetter
from typing import Any

# The SDK uses old names of pydantic.
warnings.simplefilter("ignore")

from portkey_ai import Portkey, createHeaders  # noqa: E402


def main() -> None:
    """Do one step after the other."""
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line))), flush=True)


def _done(step: dict[str, Any]) -> dict[str, Any]:
    if step["call"] == "createHeaders":
        return {"answer": createHeaders(**step["arguments"])}
    client = Portkey(**step["client"])
    try:
        answer = attrgetter(step["call"])(client)(**step["arguments"])
    except Exception as error:  # told to the test, which judges it
        status = getattr(error, "status_code", None)
        return {"error": type(error).__name__, "status": status, "message": str(error)}
    return {"answer": answer.model_dump(mode="json"), "headers": dict(client.response_headers or {})}


if __name__ == "__main__":
    main()
