"""The admin function as Lambda calls it: with events, in one process, over the deployment's tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from farebox.compose.aws.admin import Handler, admin_handler, open_admin
from farebox.compose.deployment import BOOTSTRAP_EVENT, deployment_environment
from farebox.compose.deployment import Deployment as Stage
from farebox.domain.errors import ConfigInvalid
from tests.support.builders import a_record
from tests.support.dynamo import CREDENTIALS, REGION, deployed
from tests.support.ministack import Ministack, ministack

__all__ = ["ministack"]

HOST = "abc.lambda-url.eu-central-1.on.aws"


@pytest.fixture
def handler(ministack: Ministack) -> Iterator[Handler]:
    told = deployment_environment(Stage("dev", deployed(ministack.port).names))
    role = {
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ministack.port}",
    }
    aws = open_admin(told | role)
    yield admin_handler(aws)
    # mangum uses the thread's loop; the next test gets one of its own.
    loop = asyncio.get_event_loop_policy().get_event_loop()
    loop.run_until_complete(aws.aclose())
    loop.close()
    asyncio.set_event_loop(None)


def asked(handler: Handler, method: str, path: str, key: str, body: object = None) -> tuple[int, Any]:
    """Send what a function URL sends (payload 2.0), and give status and JSON of the answer."""
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": HOST, "authorization": f"Bearer {key}", "content-type": "application/json"},
        "requestContext": {
            "domainName": HOST,
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
    answer = handler(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def test_the_deployer_makes_the_first_admin_key_once(handler: Handler) -> None:
    key = handler(BOOTSTRAP_EVENT, None)["admin_key"]
    refused = handler(BOOTSTRAP_EVENT, None)
    assert list(refused) == ["error"]
    assert "an admin key already: 'first'" in refused["error"]
    status, told = asked(handler, "GET", "/v1/admin-keys", key)
    assert (status, [row["name"] for row in told["rows"]]) == (200, ["first"])
    assert asked(handler, "GET", "/v1/admin-keys", "fba-" + key[4:][::-1])[0] == 401


def test_whoever_reaches_the_url_cannot_ask_for_it(handler: Handler) -> None:
    assert asked(handler, "POST", "/", "", BOOTSTRAP_EVENT)[0] in (401, 404)
    # The deployer still can: nothing was made.
    assert "admin_key" in handler(BOOTSTRAP_EVENT, None)


def test_a_policy_is_applied_and_read_back(handler: Handler) -> None:
    key = handler(BOOTSTRAP_EVENT, None)["admin_key"]
    policy = {
        "providers": [{"slug": "main", "type": "anthropic", "credential": "secretsmanager:farebox/dev/main"}],
        "keys": [{"name": "alice", "user": "alice@example.com"}],
        "budgets": [{"name": "day", "scope": {"key": "*"}, "usd": 20, "period": "day"}],
    }
    status, applied = asked(handler, "POST", "/v1/apply", key, policy)
    assert (status, applied["warnings"]) == (200, [])
    assert [created["name"] for created in applied["created_keys"]] == ["alice"]
    assert asked(handler, "GET", "/v1/budgets", key)[1]["rows"] == []
    assert asked(handler, "GET", "/v1/providers", key)[1]["rows"][0]["slug"] == "main"


def test_budgets_tell_their_pace_and_what_went_beyond_holds(handler: Handler) -> None:
    key = handler(BOOTSTRAP_EVENT, None)["admin_key"]
    asked(handler, "POST", "/v1/apply", key, {"budgets": [{"name": "ever", "usd": 100, "period": "total"}]})
    record = a_record(at=datetime.now(UTC), charged_picodollars=30 * 10**12, overrun_picodollars=5 * 10**11)
    told = {"records": [msgspec.to_builtins(record)]}
    assert asked(handler, "POST", "/v1/ledger/replay", key, told) == (200, {"replayed": 1})
    (row,) = asked(handler, "GET", "/v1/budgets", key)[1]["rows"]
    assert (row["settled_usd"], row["burn_rate_usd_per_hour"], row["overrun_usd"]) == ("30", "30", "0.5")
    assert row["forecast_exhausted_at"] is not None


def test_a_function_without_its_variables_says_which(ministack: Ministack) -> None:
    with pytest.raises(ConfigInvalid, match="FAREBOX_KEYS_TABLE"):
        open_admin({"AWS_REGION": REGION, "FAREBOX_STAGE": "dev"})
