"""The tokens that providers on Google Cloud are asked with: made as each is configured, then kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.adapters.clouds.google.documents import (
    Document,
    Federation,
    Login,
    ServiceAccountKey,
    read_document,
)
from farebox.adapters.clouds.google.grants import Sign, token_of_federation, token_of_key, token_of_login
from farebox.adapters.clouds.google.services import TokenServices
from farebox.adapters.clouds.tokens import AccessToken, AccessTokens, may_be_bearer
from farebox.domain.config import GOOGLE_CREDENTIAL, ProviderSpec
from farebox.domain.errors import ConfigInvalid, StoreFault
from farebox.ports.bearer import Credential

TOKENS_MAX = 256


class GoogleIdentity(Struct, frozen=True):
    """What this process can be known by: its AWS credentials and region, and on a laptop the login of whoever
    runs it.
    """

    aws: CredentialSource | None
    aws_region: str
    read_login: Callable[[], str | None]


class GoogleCredentials:
    """A token per provider, renewed before it runs out. `load_sign` gives what signs, once it is needed."""

    def __init__(
        self, services: TokenServices, identity: GoogleIdentity, load_sign: Callable[[], Sign]
    ) -> None:
        self._services, self._identity, self._load_sign = services, identity, load_sign
        self._tokens: dict[tuple[str, ...], AccessTokens] = {}

    async def of(self, spec: ProviderSpec, secret: str | None) -> Credential:
        """Give a provider's token, made of its stored secret or, with None, of what this process is. A secret
        that is no JSON is a token already. Raises `ConfigInvalid` and `StoreFault`.
        """
        if secret is not None and not secret.startswith("{"):
            if not may_be_bearer(secret):
                raise ConfigInvalid(
                    spec.credential, "the secret is neither a JSON file of Google's nor an access token"
                )
            return secret
        place = (spec.credential, secret or "", spec.cloud.audience or "", spec.cloud.service_account or "")
        kept = self._tokens.get(place)
        if kept is None:
            if len(self._tokens) >= TOKENS_MAX:
                self._tokens.clear()
            fetch = partial(self._fetch, spec, self._document(spec, secret))
            kept = self._tokens[place] = AccessTokens(fetch, self._services.clock)
        return await kept.current()

    def _document(self, spec: ProviderSpec, secret: str | None) -> Document | None:
        if secret is not None:
            return read_document(spec.credential, secret)
        return None if spec.cloud.audience is None else Federation(spec.cloud.audience)

    async def _fetch(self, spec: ProviderSpec, document: Document | None) -> AccessToken:
        """Get a token. Without a document it is made of the login, which is read anew each time: whoever logs
        in again need not restart the gateway.
        """
        try:
            return await self._token_of(spec, document or self._login())
        except ConfigInvalid as error:
            raise StoreFault(error.message) from error

    def _login(self) -> Document:
        text = self._identity.read_login()
        if text is None:
            raise ConfigInvalid(
                GOOGLE_CREDENTIAL,
                "there is no Google login here; name a workload identity provider as audience, or use the "
                "key of a service account as credential",
            )
        return read_document(GOOGLE_CREDENTIAL, text)

    async def _token_of(self, spec: ProviderSpec, document: Document) -> AccessToken:
        account = spec.cloud.service_account
        match document:
            case ServiceAccountKey():
                token = await self._token_of_key(spec, document)
            case Login():
                token = await token_of_login(self._services, document)
            case Federation():
                token = await self._token_of_federation(document)
                account = account or document.account
        return token if account is None else await self._services.impersonated(account, token)

    async def _token_of_key(self, spec: ProviderSpec, key: ServiceAccountKey) -> AccessToken:
        try:
            return await token_of_key(self._services, key, self._load_sign())
        except ValueError as flaw:
            raise ConfigInvalid(spec.credential, str(flaw)) from None

    async def _token_of_federation(self, federation: Federation) -> AccessToken:
        aws = self._identity.aws
        if aws is None:
            raise StoreFault("this process has no AWS credentials to show to Google")
        credentials = await aws.current()
        return await token_of_federation(self._services, federation, credentials, self._identity.aws_region)
