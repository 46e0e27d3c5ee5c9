"""Whatever the functions behind requests ask the account for, their roles allow."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from farebox.compose.aws.alerts import notifier_job, sweeper_job
from farebox.compose.aws.carriers import aggregator_job, relay_job
from tests.functions.test_jobs import BUDGET, USD, Make, dead, run
from tests.infra.conftest import Cloud, clouds, dev
from tests.infra.parts import listed, statements
from tests.support.builders import a_record
from tests.support.cloud.actions import ActionProxy
from tests.support.cloud.behind import Behind
from tests.support.ministack import Ministack, ministack

__all__ = ["clouds", "dev", "ministack"]


@contextmanager
def between(port: int) -> Iterator[ActionProxy]:
    """Listen in a thread, since a job runs an event loop of its own."""
    loop, proxy = asyncio.new_event_loop(), ActionProxy(port)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def asked(behind: Behind, make: Make, event: dict[str, object]) -> set[tuple[str, str]]:
    """Invoke a job; give its actions, each with the table by our name for it."""
    with between(behind.port) as proxy:
        run(make, behind.told(port=proxy.port), event)
        tables = {name: ours for ours, name in asdict(behind.tables).items()}
        return {(action, tables.get(table.split("/")[0], table)) for action, table in proxy.asked}


def refused(cloud: Cloud, name: str, actions: set[tuple[str, str]]) -> list[tuple[str, str]]:
    def is_allowed(action: str, table: str) -> bool:
        return any(
            action in listed(each["Action"])
            and (not table or f"{table.capitalize()}Table" in json.dumps(each["Resource"]))
            for each in statements(cloud, name)
        )

    return [each for each in sorted(actions) if not is_allowed(*each)]


def test_the_roles_may_do_all_that_the_functions_ask_for(ministack: Ministack, dev: Cloud) -> None:
    behind = Behind(ministack.port)
    behind.apply({"budgets": [BUDGET]})
    spent = {"charged_picodollars": 6 * USD, "cost_picodollars": 6 * USD}
    now = datetime.now(UTC)  # what is long past is told to nobody
    behind.book(a_record("req_2", at=now, **spent), a_record("req_3", at=now, error_type="BrakeSpent"))
    relayed = asked(behind, relay_job, behind.stream())
    assert ("events:PutEvents", "") in relayed
    told = asked(behind, notifier_job, behind.messages("budget_notifier"))
    assert ("sns:Publish", "") in told
    counted = asked(behind, aggregator_job, behind.messages("usage_aggregator"))
    assert ("dynamodb:UpdateItem", "rollups") in counted
    dead(behind)
    with closing(behind.client("sqs")) as sqs:
        sqs.send_message(QueueUrl=behind.queues["dead"], MessageBody="{}")
    swept = asked(behind, sweeper_job, {})
    assert {("sqs:GetQueueAttributes", ""), ("dynamodb:PutItem", "usage")} <= swept

    by_job = {"ledger_relay": relayed, "budget_notifier": told, "usage_aggregator": counted}
    for name, actions in {**by_job, "hold_sweeper": swept}.items():
        assert refused(dev, name, actions) == [], name
