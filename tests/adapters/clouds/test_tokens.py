"""Access tokens: what is given in the place of one that a provider refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from farebox.adapters.clouds.tokens import YOUNG_MS, AccessToken, AccessTokens
from farebox.domain.errors import StoreFault
from farebox.ports.bearer import BearerToken
from tests.support.builders import FixedClock

OLD_ENOUGH = timedelta(milliseconds=YOUNG_MS)


class Scene:
    """Tokens of an endpoint that gives `texts` in turn, and the last one ever after; None is a fault."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.clock = FixedClock()
        self.left = list(texts)
        self.tokens = AccessTokens(self._fetch, self.clock)

    async def _fetch(self) -> AccessToken:
        text = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if text is None:
            raise StoreFault("away")
        return AccessToken(text, self.clock.now() + timedelta(hours=1))

    async def refused(self, token: BearerToken) -> str | None:
        """Give the text of what stands in for it."""
        other = await token.another()
        return None if other is None else other.text


async def test_a_refused_token_is_replaced() -> None:
    scene = Scene(["first", "second"])
    token = await scene.tokens.current()
    assert token.header == (b"authorization", b"Bearer first")
    scene.clock.advance(OLD_ENOUGH)
    assert await scene.refused(token) == "second"
    assert (await scene.tokens.current()).text == "second"


async def test_many_that_are_refused_at_once_share_what_replaces_it() -> None:
    scene = Scene(["first", "second", "third"])
    tokens = [await scene.tokens.current() for _ in range(3)]
    scene.clock.advance(OLD_ENOUGH)
    assert [await scene.refused(token) for token in tokens] == ["second"] * 3


async def test_a_token_that_was_only_just_fetched_is_refused_for_another_reason() -> None:
    scene = Scene(["first", "second"])
    token = await scene.tokens.current()
    assert await scene.refused(token) is None
    assert scene.left == ["second"]


async def test_the_same_token_again_is_no_other() -> None:
    scene = Scene(["first", "first", "second"])
    token = await scene.tokens.current()
    scene.clock.advance(OLD_ENOUGH)
    assert await scene.refused(token) is None


async def test_a_refusal_stands_where_no_other_token_is_to_be_had() -> None:
    scene = Scene(["first", None])
    token = await scene.tokens.current()
    scene.clock.advance(OLD_ENOUGH)
    assert await scene.refused(token) is None


async def test_no_repr_shows_a_token() -> None:
    scene = Scene(["the-secret"])
    assert "the-secret" not in repr(await scene.tokens.current())
    assert "the-secret" not in repr(AccessToken("the-secret", scene.clock.now()))
