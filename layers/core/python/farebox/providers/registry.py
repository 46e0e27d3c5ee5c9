"""Every kind of provider, one line each, and the way to each of them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import PolicyRefused, UpstreamStatusUnusable
from farebox.ports import Clock
from farebox.ports.bearer import BearerToken
from farebox.providers.anthropic import AnthropicProvider
from farebox.providers.base import Call, Provider, Signing, Translating
from farebox.providers.clouds.bedrock import BedrockProvider
from farebox.providers.clouds.messages_api import AnthropicAwsProvider, FoundryProvider
from farebox.providers.clouds.vertex import VertexProvider
from farebox.providers.demo import DemoProvider
from farebox.wire.headers import with_forwarded
from farebox.wire.http import HttpAnswer, HttpRequest, Timeouts, Transport, is_success
from farebox.wire.sigv4 import AwsCredentials, Signers

PROVIDERS: Mapping[str, Provider] = {
    "anthropic": AnthropicProvider(),
    "anthropic-aws": AnthropicAwsProvider(),
    "bedrock": BedrockProvider(),
    "demo": DemoProvider(),
    "foundry": FoundryProvider(),
    "vertex": VertexProvider(),
}


class Providers(Struct, frozen=True):
    """The providers of one process. `transports` has the kinds that are not reached over HTTP."""

    http: Transport
    transports: Mapping[str, Transport]
    timeouts: Timeouts
    clock: Clock
    signers: Signers = field(default_factory=Signers)

    def of(self, spec: ProviderSpec) -> Provider:
        """Give the provider of a configured kind. Raises `PolicyRefused` for a kind that this version does
        not serve.
        """
        provider = PROVIDERS.get(spec.type)
        if provider is None:
            raise PolicyRefused(
                f"Provider '{spec.slug}' is of type '{spec.type}', which this version does not serve."
            )
        return provider

    async def send(
        self,
        spec: ProviderSpec,
        call: Call,
        *,
        silence_ms: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> HttpAnswer:
        """Send a call and wait for the head of its answer, by the bounds of `timeouts` where they are given.
        A token that is refused is replaced once, where there is another.

        Raises as `Transport.send` and `Provider.request` do, and `UpstreamStatusUnusable` for a redirect and
        whatever else answers nothing.
        """
        provider = self.of(spec)
        bounds = timeouts or self.timeouts
        request, answer = await self._sent(provider, spec, call, silence_ms, bounds)
        if answer.status == 401 and isinstance(call.secret, BearerToken):
            token = await _another(call.secret, answer)
            if token is not None:
                await answer.aclose()
                call = replace(call, secret=token)
                request, answer = await self._sent(provider, spec, call, silence_ms, bounds)
        if is_success(answer.status) or 400 <= answer.status <= 599:
            return await provider.answer(spec, call, answer) if isinstance(provider, Translating) else answer
        await answer.aclose()
        raise UpstreamStatusUnusable(request.origin.host, answer.status)

    async def _sent(
        self, provider: Provider, spec: ProviderSpec, call: Call, silence_ms: int | None, bounds: Timeouts
    ) -> tuple[HttpRequest, HttpAnswer]:
        request = provider.request(spec, call)
        if call.forward_headers:
            headers = with_forwarded(request.headers, call.headers, call.forward_headers)
            request = replace(request, headers=headers)
        if isinstance(call.secret, AwsCredentials) and isinstance(provider, Signing):
            scope = provider.signs_for(spec)
            request = self.signers.signed(request, scope, call.secret, self.clock.now())
        if spec.is_host_chosen:
            request = replace(request, origin=replace(request.origin, is_chosen=True))
        transport = self.transports.get(spec.type, self.http)
        return request, await transport.send(request, bounds, silence_ms=silence_ms)


async def _another(refused: BearerToken, answer: HttpAnswer) -> BearerToken | None:
    """Fetch another token while the refusal waits to be told, and let go of that if nobody will be."""
    try:
        return await refused.another()
    except BaseException:
        answer.abort()
        raise
