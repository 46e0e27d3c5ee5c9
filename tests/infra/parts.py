"""What one function has: its properties, its statements."""

from __future__ import annotations

from typing import Any

from tests.infra.conftest import Cloud, Resource


def only(found: dict[str, Resource]) -> dict[str, Any]:
    [resource] = found.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def part(cloud: Cloud, kind: str, name: str) -> dict[str, Any]:
    """Give the properties of what a function has of a kind."""
    prefix = "".join(word.capitalize() for word in name.split("_"))
    found = cloud.resources(kind).items()
    return only({logical: resource for logical, resource in found if logical.startswith(prefix)})


def function(cloud: Cloud, name: str) -> dict[str, Any]:
    return part(cloud, "AWS::Lambda::Function", name)


def statements(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = part(cloud, "AWS::IAM::Policy", name)["PolicyDocument"]["Statement"]
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
