"""Hypothesis settings of every test: no deadlines on shared machines, the same examples on every CI run."""

import os

from hypothesis import HealthCheck, settings

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
