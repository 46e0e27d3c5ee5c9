"""How each platform spells Claude's models, and the one name by which budgets, lists and reports know them.

Source: the model table of Claude Code 2.1.330, agreeing with genai-prices 0.2.3; read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from farebox.domain.price.model_id import normalise

# Bedrock gave the older models a snapshot and a version. Whatever is not here is anthropic.NAME.
BEDROCK_IDS: Mapping[str, str] = {
    "claude-sonnet-4": "anthropic.claude-sonnet-4-20250514-v1:0",
    "claude-opus-4": "anthropic.claude-opus-4-20250514-v1:0",
    "claude-opus-4-1": "anthropic.claude-opus-4-1-20250805-v1:0",
    "claude-sonnet-4-5": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "claude-haiku-4-5": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "claude-opus-4-5": "anthropic.claude-opus-4-5-20251101-v1:0",
    "claude-opus-4-6": "anthropic.claude-opus-4-6-v1",
}
# Vertex names a snapshot of these; every later model has its plain name there.
VERTEX_IDS: Mapping[str, str] = {
    "claude-sonnet-4": "claude-sonnet-4@20250514",
    "claude-opus-4": "claude-opus-4@20250514",
    "claude-opus-4-1": "claude-opus-4-1@20250805",
    "claude-sonnet-4-5": "claude-sonnet-4-5@20250929",
    "claude-haiku-4-5": "claude-haiku-4-5@20251001",
    "claude-opus-4-5": "claude-opus-4-5@20251101",
}
# Bedrock's cross-region profiles, by what a region's name begins with; the longer beginnings come first.
REGION_PROFILES: Mapping[str, str] = {
    "us-gov-": "us-gov",
    "us-": "us",
    "ca-": "us",
    "eu-": "eu",
    "ap-northeast-1": "jp",
    "ap-northeast-3": "jp",
    "ap-southeast-2": "au",
    "ap-southeast-4": "au",
    "ap-": "apac",
}
INFERENCE_PROFILES = ("global", "us", "eu", "apac", "jp", "au", "us-gov", "none")

_BEDROCK_FORM = re.compile(r"(?:[a-z]{2,6}(?:-[a-z]+)?\.)?anthropic\.claude-.+|arn:aws[a-z-]*:bedrock:.+")
_VERTEX_FORM = re.compile(r"claude-.+@[0-9a-z]+")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?$")
_SNAPSHOT = re.compile(r"-\d{8}$")


def is_bedrock_id(model: str) -> bool:
    """Whether a model is written as Bedrock writes it."""
    return _BEDROCK_FORM.fullmatch(model) is not None


def plain_name(model: str) -> str:
    """Give the name by which a Claude model is known everywhere; a name that no cloud wrote stays as it is.

    An application inference profile says nothing of its model and stays, too.
    """
    if not is_bedrock_id(model) and not _VERTEX_FORM.fullmatch(model):
        return model
    return normalise(model).id


def bedrock_id(model: str, profile: str) -> str:
    """Write a model as Bedrock does, under a cross-region profile or, with 'none', as the model itself."""
    if is_bedrock_id(model):
        return model
    name = model.removesuffix("[1m]")
    known = BEDROCK_IDS.get(name) or BEDROCK_IDS.get(_SNAPSHOT.sub("", name))
    bare = known or f"anthropic.{_SNAPSHOT.sub('', name) if name.startswith('claude-') else name}"
    return bare if profile == "none" else f"{profile}.{bare}"


def foundation_model_id(model: str) -> str:
    """Give the foundation model behind a Bedrock id, as CountTokens wants it."""
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    return name[name.find("anthropic.") :] if "anthropic." in name else name


def anthropic_id(model: str) -> str:
    """Write a model as Anthropic's own API does, with the snapshot that a cloud's name for it has.

    An application inference profile names none and stays. So does what is known by another name than this,
    for it was admitted by that one.
    """
    name = _as_anthropic(model)
    return name if normalise(name).id == normalise(model).id else model


def _as_anthropic(model: str) -> str:
    if is_bedrock_id(model):
        name = foundation_model_id(model)
        is_named = name.startswith("anthropic.")
        return _BEDROCK_VERSION.sub("", name.removeprefix("anthropic.")) if is_named else model
    if _VERTEX_FORM.fullmatch(model):
        name, _, snapshot = model.partition("@")
        return f"{name}-{snapshot}" if snapshot.isdigit() else name
    return model


def vertex_id(model: str) -> str:
    """Write a model as Vertex does."""
    if _VERTEX_FORM.fullmatch(model):
        return model
    name = plain_name(model).removesuffix("[1m]")
    return VERTEX_IDS.get(name) or VERTEX_IDS.get(_SNAPSHOT.sub("", name)) or _SNAPSHOT.sub("", name)


def region_profile(region: str) -> str:
    """Give the cross-region profile that keeps to a region's part of the world."""
    return next((name for begin, name in REGION_PROFILES.items() if region.startswith(begin)), "global")
