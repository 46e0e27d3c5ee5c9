"""Where a catalogue differs from us on Claude, and why ours stays. What is not listed here fails a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tests.domain.price_sources import Listed


@dataclass(frozen=True, slots=True)
class Difference:
    """`ratio` is theirs over ours; None means that we have no price at all."""

    source: str
    model: str
    variants: str
    ratio: Fraction | None
    reason: str

    def covers(self, listed: Listed, ratio: Fraction | None) -> bool:
        """Say whether this is the acknowledgement of one disagreement."""
        named = re.fullmatch(self.model, listed.model) and re.fullmatch(self.variants, listed.variant)
        return self.source == listed.source and bool(named) and self.ratio == ratio


_OLD = r"(?:.*[./])?claude-(?:2|v1|v2:1|instant-v1|3-.*|4-(?:opus|sonnet)|(?:opus|sonnet)-4-(?:0|20250514.*))"
_BARE_BEDROCK = r"(?:bedrock_mantle/)?(?:anthropic\.)?claude-(?:fable|haiku|mythos|opus|sonnet)-[45].*"

DIFFERENCES = (
    Difference("genai-prices", _OLD, ".*", None, "Retired before farebox: unpriced on purpose."),
    Difference("LiteLLM", _OLD, ".*", None, "Retired before farebox: unpriced on purpose."),
    Difference(
        "LiteLLM",
        r".*claude-mythos-preview",
        ".*",
        None,
        "Deprecated 2026-06-09; sources disagree by 2.75x: unpriced.",
    ),
    Difference(
        "LiteLLM",
        r"azure_ai/claude-opus-5-5-fast",
        "standard",
        None,
        "Fast mode as an id of its own is LiteLLM's spelling; the served speed decides here.",
    ),
    Difference(
        "genai-prices",
        r"us-gov\.anthropic\..*",
        "standard|long",
        Fraction(11, 12),
        "genai-prices takes 1.1x for us-gov; LiteLLM and Portkey have 1.2x.",
    ),
    Difference(
        "genai-prices",
        r"claude-sonnet-4-5",
        "long",
        Fraction(2),
        "The 1M beta and its long-prompt price ended on 2026-04-30; our row is dated.",
    ),
    Difference(
        "genai-prices",
        r"claude-sonnet-4-5",
        "long",
        Fraction(3, 2),
        "The 1M beta and its long-prompt price ended on 2026-04-30; our row is dated.",
    ),
    Difference(
        "LiteLLM",
        _BARE_BEDROCK,
        "standard|long|batch",
        Fraction(10, 11),
        "A bare Bedrock id is a regional endpoint, 1.1x by Amazon's published rule; LiteLLM has 1x.",
    ),
    Difference(
        "LiteLLM",
        r"vertex_ai/claude-opus-5-5.*",
        "batch",
        Fraction(5, 4),
        "LiteLLM's batch price of Vertex Opus 5.5 is Opus 5's; half of 4/20 is 2/10.",
    ),
    Difference(
        "LiteLLM",
        r"vertex_ai/claude-sonnet-4-[56].*",
        "batch",
        Fraction(1880, 1875),
        "LiteLLM rounds 1.875 to 1.88.",
    ),
)
