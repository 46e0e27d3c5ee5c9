"""What a provider is spoken to with: a secret as it is stored, AWS credentials, or a token made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from farebox.adapters.aws.dynamodb.credentials import CredentialSource, RenewedCredentials, StaticCredentials
from farebox.adapters.aws.services.sts import Role, assume_role
from farebox.adapters.clouds.entra import PUBLIC_CLOUD, Application, EntraTokens
from farebox.adapters.clouds.google.credentials import GoogleCredentials
from farebox.adapters.clouds.tokens import may_be_bearer
from farebox.domain.config import AWS_CREDENTIAL, AWS_TYPES, GOOGLE_CREDENTIAL, GOOGLE_TYPES, ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialUnavailable, StoreFault
from farebox.ports import Clock, Secrets
from farebox.ports.bearer import Credential
from farebox.wire.http import Origin, Transport, origin_of
from farebox.wire.sigv4 import AwsCredentials

ROLES_MAX = 256

StsOrigin = Callable[[str], Origin]
"""Gives the endpoint of STS in a region."""


def sts_origin(environment: Mapping[str, str]) -> StsOrigin:
    """Find STS where AWS has it, or at the one endpoint that the environment names for all services."""
    endpoint = environment.get("AWS_ENDPOINT_URL_STS") or environment.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return lambda region: Origin("https", f"sts.{region}.amazonaws.com", 443)
    origin = origin_of(endpoint)
    return lambda region: origin


class _Keys(msgspec.Struct):
    """AWS keys as a stored secret: `{"access_key_id": .., "secret_access_key": .., "session_token": ..}`."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


_keys = msgspec.json.Decoder(_Keys).decode


class ProviderCredentials:
    """Fills `ports.Credentials`. `own` are the process's own AWS credentials, None where it has none."""

    def __init__(
        self,
        secrets: Secrets,
        own: CredentialSource | None,
        google: GoogleCredentials,
        *,
        transport: Transport,
        clock: Clock,
        sts_origin: StsOrigin,
        entra_origin: Origin = PUBLIC_CLOUD,
    ) -> None:
        self._secrets, self._own, self._google = secrets, own, google
        self._transport, self._clock, self._sts_origin = transport, clock, sts_origin
        self._entra = EntraTokens(secrets, transport=transport, clock=clock, origin=entra_origin)
        self._roles: dict[tuple[str, Role, str], CredentialSource] = {}

    async def of(self, spec: ProviderSpec) -> Credential:
        """See `ports.Credentials.of`."""
        try:
            return await self._of(spec)
        except (ConfigInvalid, StoreFault) as error:
            detail = error.detail if isinstance(error, StoreFault) else error.message
            raise CredentialUnavailable(spec.slug, detail) from error

    async def _of(self, spec: ProviderSpec) -> Credential:
        if spec.credential == AWS_CREDENTIAL:
            if self._own is None:
                raise ConfigInvalid(AWS_CREDENTIAL, "this process has no AWS credentials of its own")
            return await self._assumed(spec, self._own)
        if spec.credential == GOOGLE_CREDENTIAL:
            return await self._google.of(spec, None)
        if spec.cloud.tenant_id is not None and spec.cloud.client_id is not None:
            application = Application(spec.cloud.tenant_id, spec.cloud.client_id)
            return await self._entra.of(application, spec.credential)
        secret = await self._secrets.resolve(spec.credential)
        if spec.type in GOOGLE_TYPES:
            return await self._google.of(spec, secret)
        if spec.type in AWS_TYPES and secret.startswith("{"):
            return await self._assumed(spec, StaticCredentials(_read_keys(spec.credential, secret)))
        if spec.type in AWS_TYPES and not may_be_bearer(secret):
            raise ConfigInvalid(spec.credential, "the secret is neither a JSON object of keys nor an API key")
        return secret

    async def _assumed(self, spec: ProviderSpec, source: CredentialSource) -> AwsCredentials:
        """Give the credentials of the provider's role, if it names one, else those we have."""
        if spec.cloud.role_arn is None:
            return await source.current()
        role = Role(spec.cloud.role_arn, spec.cloud.external_id, f"farebox-{spec.slug}")
        region = spec.region or ""
        place = ("" if source is self._own else (await source.current()).access_key_id, role, region)
        kept = self._roles.get(place)
        if kept is None:
            if len(self._roles) >= ROLES_MAX:
                self._roles.clear()
            fetch = partial(
                assume_role,
                role,
                source,
                transport=self._transport,
                origin=self._sts_origin(region),
                region=region,
                clock=self._clock,
            )
            kept = self._roles[place] = RenewedCredentials(fetch, self._clock)
        return await kept.current()


def _read_keys(reference: str, secret: str) -> AwsCredentials:
    try:
        keys = _keys(secret)
    except msgspec.MsgspecError:
        # Not chained: the decoder's error may quote the secret.
        raise ConfigInvalid(reference, "the JSON has no access_key_id and secret_access_key") from None
    return AwsCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
