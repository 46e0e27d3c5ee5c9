"""What holds for every test: Hypothesis without deadlines on shared machines; Python compiles a file once."""

import os
import sys

from hypothesis import HealthCheck, settings

# An image's PYTHONDONTWRITEBYTECODE would have each of some hundred processes compile all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile(
    "farebox",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "proof",
    parent=settings.get_profile("farebox"),
    max_examples=int(os.environ.get("FAREBOX_PROOF_EXAMPLES", "10000")),
)
settings.load_profile("farebox")
