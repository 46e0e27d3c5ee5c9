"""The tables are made as they are described, and what is read through an index is in it."""

from dataclasses import astuple

from farebox.adapters.aws.tables import BY_SESSION, BY_TIME, TABLES, USAGE, creation
from tests.support.dynamo import Deployment, ask


def described(deployment: Deployment, name: str) -> dict[str, object]:
    table: dict[str, object] = ask(deployment.port, "DescribeTable", {"TableName": name})["Table"]
    return table


def test_every_table_is_made_on_demand_with_its_key(deployment: Deployment) -> None:
    names = deployment.names
    keys = {}
    for name in astuple(names):
        table = described(deployment, name)
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"  # type: ignore[index]  # JSON
        keys[name] = [part["AttributeName"] for part in table["KeySchema"]]  # type: ignore[attr-defined]  # JSON
    two_parts = (names.keys, names.budgets, names.cache, names.rollups)
    assert keys == {names.usage: ["id"]} | {name: ["pk", "sk"] for name in two_parts}


def test_ledger_rows_alone_are_streamed(deployment: Deployment) -> None:
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    assert described(deployment, deployment.names.usage)["StreamSpecification"] == stream
    assert [table.stream for table in TABLES] == [table is USAGE for table in TABLES]


def test_an_index_carries_what_is_summed_and_no_more() -> None:
    by_name = {
        index["IndexName"]: index["Projection"] for index in creation(USAGE, "u")["GlobalSecondaryIndexes"]
    }
    assert by_name == {
        "by_time": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(BY_TIME.includes)},
        "by_session": {"ProjectionType": "KEYS_ONLY"},
        "by_overrun": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["entries", "overrun_picodollars"]},
    }
    # DynamoDB takes twenty beside the keys.
    assert len(BY_TIME.includes) <= 20
    assert BY_SESSION.includes == ()
