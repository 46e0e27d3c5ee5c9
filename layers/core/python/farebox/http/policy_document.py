"""The file that `apply` and `serve --config` read: validated whole, turned into pieces of policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, TypeVar

from msgspec import Struct
from pydantic import BeforeValidator, Field, ValidationError

from farebox.domain.config import CALLER_CREDENTIAL
from farebox.domain.policy import (
    BRAKE,
    BUDGET,
    BUILTIN_PROVIDERS,
    CONFIG,
    KEY,
    PROVIDER,
    RATE_LIMIT,
    SETTING,
    WORKSPACE,
    Piece,
    key_name,
)
from farebox.domain.routing.finding import Finding, refusal
from farebox.http.policy_routing import check_routing, read_routing
from farebox.http.policy_sections import (
    BrakeSection,
    BudgetSection,
    KeySection,
    Pattern,
    ProviderSection,
    RateLimitSection,
    Section,
    Slug,
    WorkspaceSection,
)
from farebox.http.policy_text import plain_json, read_policy_text

SectionType = TypeVar("SectionType", bound=Section)

PROVIDER_TYPES_SERVED = ("anthropic", "anthropic-aws", "bedrock", "demo", "foundry", "vertex")
# pydantic would name its own classes.
_SHAPES: Mapping[str, str] = {
    "model_type": "an object with fields",
    "model_attributes_type": "an object with fields",
    "dict_type": "an object with fields",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
}


class ConfigSection(Section):
    """A routing document under a slug."""

    slug: Slug
    name: Pattern | None = None
    config: Annotated[dict[str, object], BeforeValidator(read_routing)]

    def document(self) -> dict[str, object]:
        """Give what is stored: the config as it came."""
        named = {} if self.name is None else {"name": self.name}
        return {"slug": self.slug, **named, "config": plain_json(self.config)}


class PolicyFile(Section):
    """The whole document. `contact` says whom to ask, in refusals."""

    organisation: Slug | None = None
    contact: Pattern | None = None
    providers: list[ProviderSection] = Field(default_factory=list)
    workspaces: list[WorkspaceSection] = Field(default_factory=list)
    configs: list[ConfigSection] = Field(default_factory=list)
    keys: list[KeySection] = Field(default_factory=list)
    budgets: list[BudgetSection] = Field(default_factory=list)
    rate_limits: list[RateLimitSection] = Field(default_factory=list)
    brakes: list[BrakeSection] = Field(default_factory=list)


class PolicyDocument(Struct, frozen=True):
    """A document that is sound in itself; `places` says where in it each piece stands."""

    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...]
    places: Mapping[tuple[str, str], str]


SECTIONS: Mapping[str, tuple[str, type[Section]]] = {
    PROVIDER: ("providers", ProviderSection),
    WORKSPACE: ("workspaces", WorkspaceSection),
    CONFIG: ("configs", ConfigSection),
    KEY: ("keys", KeySection),
    BUDGET: ("budgets", BudgetSection),
    RATE_LIMIT: ("rate_limits", RateLimitSection),
    BRAKE: ("brakes", BrakeSection),
}


def parse_policy_text(text: bytes) -> PolicyDocument:
    """Read a document from YAML or JSON text. Raises `ConfigInvalid` that lists every path that is wrong."""
    return parse_policy(read_policy_text(text))


def parse_policy(raw: object) -> PolicyDocument:
    """Read a document from plain values. Raises `ConfigInvalid` that lists every path that is wrong."""
    file = read_section(PolicyFile, {} if raw is None else raw)
    pieces, places = _pieces(file)
    findings = [*_repeated(file), *_section_findings(file)]
    errors = [finding for finding in findings if finding.is_error]
    if errors:
        raise refusal(errors)
    warnings = tuple(f"{finding.path}: {finding.detail}" for finding in findings)
    return PolicyDocument(pieces, warnings, places)


def read_section(model: type[SectionType], raw: object) -> SectionType:
    """Validate one section of its own. Raises `ConfigInvalid`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise refusal(validation_findings(error)) from None


def parse_section(section: Section) -> tuple[Piece, tuple[str, ...]]:
    """Turn one section of an admin request into a piece and its warnings. Raises `ConfigInvalid`."""
    kind = next(kind for kind, (_, model) in SECTIONS.items() if isinstance(section, model))
    findings = list(_findings(section))
    errors = [finding for finding in findings if finding.is_error]
    if errors:
        raise refusal(errors)
    warnings = tuple(f"{finding.path}: {finding.detail}" for finding in findings)
    return Piece(kind, _section_name(section), section.document()), warnings


def default_policy_document() -> PolicyDocument:
    """Give what is built in as a document: two providers, the caller's own Anthropic login first.

    Nobody has to store it: `domain.policy.build_policy` uses the same two as long as no provider is stored.
    """
    return parse_policy(
        {
            "providers": [
                {"slug": spec.slug, "type": spec.type, "credential": CALLER_CREDENTIAL}
                | ({"base_url": spec.base_url} if spec.base_url else {})
                for spec in BUILTIN_PROVIDERS
            ]
        }
    )


def validation_findings(error: ValidationError) -> list[Finding]:
    """Give what pydantic found, each with a path such as `budgets[2].period`."""
    return [Finding(path_text(each["loc"]), detail_text(each)) for each in error.errors(include_url=False)]


def path_text(location: Iterable[int | str]) -> str:
    """Write a pydantic location as people read paths."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text


def detail_text(error: Mapping[str, object]) -> str:
    """Say what is wrong with a value without repeating it: it might be a secret in the wrong place."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "is required"
    if kind == "string_type" and isinstance(error.get("input"), bool | int | float | Decimal):
        return "must be text: quote it"
    if kind in _SHAPES:
        return f"must be {_SHAPES[str(kind)]}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("Input", "it")


def _pieces(file: PolicyFile) -> tuple[tuple[Piece, ...], dict[tuple[str, str], str]]:
    pieces = [
        Piece(SETTING, name, {"value": value})
        for name, value in (("organisation", file.organisation), ("contact", file.contact))
        if value is not None
    ]
    places = {(SETTING, piece.name): piece.name for piece in pieces}
    for kind, path, index, section in _sections(file):
        piece = Piece(kind, _section_name(section), section.document(), index)
        pieces.append(piece)
        places[(kind, piece.name)] = path
    return tuple(pieces), places


def _sections(file: PolicyFile) -> Iterator[tuple[str, str, int, Section]]:
    for kind, (field, _) in SECTIONS.items():
        for index, section in enumerate(getattr(file, field)):
            yield kind, f"{field}[{index}]", index, section


def _section_name(section: Section) -> str:
    if isinstance(section, KeySection):
        return key_name(section.workspace, section.name)
    if isinstance(section, BudgetSection | RateLimitSection | BrakeSection):
        return section.name
    return str(getattr(section, "slug"))  # noqa: B009  # every other section has one


def _repeated(file: PolicyFile) -> Iterator[Finding]:
    seen: dict[tuple[str, str], str] = {}
    for kind, path, _, section in _sections(file):
        name = _section_name(section)
        first = seen.setdefault((kind, name), path)
        if first != path:
            field = "slug" if hasattr(section, "slug") else "name"
            yield Finding(f"{path}.{field}", f"'{name}' is taken by {first}")


def _section_findings(file: PolicyFile) -> Iterator[Finding]:
    for _, path, _, section in _sections(file):
        for finding in _findings(section):
            yield Finding(
                f"{path}.{finding.path}" if finding.path else path, finding.detail, finding.is_error
            )


def _findings(section: Section) -> Iterator[Finding]:
    """Look at what one section means, beyond its grammar."""
    if isinstance(section, ConfigSection):
        yield from check_routing(section.config)
    elif isinstance(section, ProviderSection) and section.type not in PROVIDER_TYPES_SERVED:
        yield Finding(
            "type", f"this version does not serve '{section.type}' and refuses its requests", is_error=False
        )
