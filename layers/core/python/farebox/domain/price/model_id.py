"""How the many spellings of a model id become one, and which endpoint class the spelling names."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

# Amazon's inference-profile prefixes; an id with another prefix stays unknown and is not guessed.
_BEDROCK_GEOS = ("us-gov", "global", "apac", "us", "eu", "jp", "au", "in", "ca", "sa")
_PROFILE_ARN = "application-inference-profile/"
_ARN_TAILS = ("foundation-model/", "inference-profile/")
_VENDOR_PREFIXES = ("bedrock/", "vertex_ai/", "anthropic/", "publishers/anthropic/models/")
_VERTEX_PATH = re.compile(r"^projects/[^/]+/locations/(?P<location>[^/]+)/(?=publishers/)")
_BEDROCK_VERSION = re.compile(r"-v\d+(:\d+)?$")
# Callers choose names: longer ones must not fill the memory.
_REMEMBERED_LENGTH_MAX = 256
_DATED = re.compile(r"(@default|@\d{8}|-\d{8})$")


class Endpoint(StrEnum):
    """Where a request is served, as far as prices care."""

    GLOBAL = "global"
    REGIONAL = "regional"
    GOVERNMENT = "government"


class ModelRef(Struct, frozen=True):
    """A model id reduced to its table form. `endpoint` is None where the spelling does not tell."""

    id: str
    endpoint: Endpoint | None = None
    is_profile: bool = False


def normalise(model: str) -> ModelRef:
    """Reduce a Claude model id of any platform, in the order that the price documents give.

    An application inference profile names no model: its `id` stays the ARN and `is_profile` is True.
    """
    return _remembered(model) if len(model) <= _REMEMBERED_LENGTH_MAX else _reduced(model)


@lru_cache(maxsize=256)
def _remembered(model: str) -> ModelRef:
    return _reduced(model)


def _reduced(model: str) -> ModelRef:
    name = model.strip().lower().removesuffix("[1m]")
    government = name.startswith("arn:aws-us-gov:")
    if _PROFILE_ARN in name:
        return ModelRef(name, Endpoint.GOVERNMENT if government else None, is_profile=True)
    if name.startswith("arn:"):
        name = _arn_tail(name)
    name, endpoint = _without_location(name)
    for prefix in _VENDOR_PREFIXES:
        name = name.removeprefix(prefix)
    name, geo = _without_geo(name)
    name = _BEDROCK_VERSION.sub("", name.removeprefix("anthropic."))
    name = _DATED.sub("", name).replace(".", "-")
    if government and geo is not Endpoint.GLOBAL:
        geo = Endpoint.GOVERNMENT
    return ModelRef(name, geo or endpoint)


def _arn_tail(arn: str) -> str:
    for marker in _ARN_TAILS:
        if marker in arn:
            return arn.split(marker, 1)[1]
    return arn


def _without_location(name: str) -> tuple[str, Endpoint | None]:
    match = _VERTEX_PATH.match(name)
    if match is None:
        return name, None
    endpoint = Endpoint.GLOBAL if match["location"] == "global" else Endpoint.REGIONAL
    return name[match.end() :], endpoint


def _without_geo(name: str) -> tuple[str, Endpoint | None]:
    for geo in _BEDROCK_GEOS:
        if name.startswith(f"{geo}.anthropic."):
            return name[len(geo) + 1 :], _GEO_ENDPOINTS.get(geo, Endpoint.REGIONAL)
    return name, None


_GEO_ENDPOINTS = {"global": Endpoint.GLOBAL, "us-gov": Endpoint.GOVERNMENT}


def endpoint_of(provider: str, ref: ModelRef, region: str | None) -> Endpoint:
    """Decide the endpoint class of a request: by the id on Bedrock, by path or region on Vertex, else global.

    A bare Bedrock id is a regional one. A Vertex request that names no region at all is taken as global.
    """
    if provider == "bedrock":
        if ref.endpoint is not None:
            return ref.endpoint
        return Endpoint.GOVERNMENT if (region or "").lower().startswith("us-gov") else Endpoint.REGIONAL
    if provider == "vertex":
        if ref.endpoint is not None:
            return ref.endpoint
        return (
            Endpoint.GLOBAL
            if region is None or region.strip().lower() in ("", "global")
            else Endpoint.REGIONAL
        )
    return Endpoint.GLOBAL
