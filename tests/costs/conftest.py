"""MiniStack counts the units of what the code writes."""

from tests.adapters.aws.conftest import deployment, transport
from tests.infra.conftest import clouds, dev
from tests.support.ministack import ministack

__all__ = ["clouds", "deployment", "dev", "ministack", "transport"]
