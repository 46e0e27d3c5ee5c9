"""One deployment over an emulated account: fresh tables, a policy, the proxy as it is packaged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from farebox.compose.aws.admin import admin_ports
from farebox.compose.aws.store import AwsStore, open_store
from farebox.compose.deployment import Deployment, deployment_environment, load_deployment
from farebox.domain.record import RequestRecord
from farebox.http.admin.apply import Applied, apply_document
from farebox.http.policy_document import parse_policy
from tests.support.cloud.environment import ZipFunction
from tests.support.dynamo import CREDENTIALS, HOST, REGION, call_service, deployed
from tests.support.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parents[3]
WRAPPER = "/opt/stream-bootstrap"
PROVIDER_SECRET = "sk-ant-api03-canary-of-the-provider"
SECRET_ID = "farebox/test/anthropic"


@dataclass
class Stage:
    """Keys are by name. `store` reads and changes what the functions see; they get `environment`."""

    store: AwsStore
    environment: Mapping[str, str]
    keys: dict[str, str]

    @property
    def key(self) -> str:
        """The secret of the first key."""
        return next(iter(self.keys.values()))

    async def apply(self, document: Mapping[str, object]) -> Applied:
        """Apply a document as the admin function does."""
        applied = await apply_document(parse_policy(document), admin_ports(self.store), actor="test")
        self.keys |= {issued.key.name: issued.secret for issued in applied.created_keys}
        return applied

    async def rows(self) -> Sequence[RequestRecord]:
        """Give ledger rows, newest first."""
        return (await self.store.store.reports.requests(limit=1_000)).rows

    async def drifts(self) -> Sequence[str]:
        return await self.store.store.reports.verify()

    def proxy(self, variables: Mapping[str, str] | None = None, *, timeout_s: float = 60.0) -> ZipFunction:
        """Give the proxy of the repository; libraries are those of the interpreter that runs the tests."""
        return ZipFunction(
            code=ROOT / "functions/proxy",
            layers=[ROOT / "layers/core"],
            environment={**self.environment, "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER, **(variables or {})},
            timeout_s=timeout_s,
            grace_s=60.0,
        )


@asynccontextmanager
async def a_stage(port: int, policy: Mapping[str, object]) -> AsyncIterator[Stage]:
    """Deploy into MiniStack at `port`, with a policy."""
    made = deployed(port)
    made.create_bucket()
    told = deployment_environment(
        Deployment("test", made.names, secret_prefix="farebox/test/", cache_bucket=made.bucket)
    )
    environment = {
        **told,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
    }
    store = open_store(load_deployment(environment), environment)
    stage = Stage(store, environment, {})
    try:
        await stage.apply(policy)
        yield stage
    finally:
        await store.aclose()


def keep_secret(port: int, secret_id: str = SECRET_ID, value: str = PROVIDER_SECRET) -> None:
    """Put a provider credential where a policy's `secretsmanager:` reference finds it, made or changed."""
    known = {each["Name"] for each in call_service(port, "secretsmanager", "ListSecrets", {})["SecretList"]}
    if secret_id in known:
        call_service(port, "secretsmanager", "PutSecretValue", {"SecretId": secret_id, "SecretString": value})
    else:
        call_service(port, "secretsmanager", "CreateSecret", {"Name": secret_id, "SecretString": value})


def a_policy(upstream: ScriptedUpstream, **sections: object) -> dict[str, object]:
    """Write a policy: a provider at the upstream with a kept credential, the key alice, a budget for all."""
    provider = {
        "slug": "anthropic",
        "type": "anthropic",
        "credential": f"secretsmanager:{SECRET_ID}",
        "base_url": upstream.base_url,
    }
    return {
        "providers": [provider],
        "keys": [{"name": "alice", "user": "alice@example.com", "metadata": {"team": "core"}}],
        "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
        **sections,
    }
