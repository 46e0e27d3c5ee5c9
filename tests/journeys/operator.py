"""Somebody who deploys: an emulated account, a clone, the CDK CLI and `farebox`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3

from farebox.compose.deployment import OUTPUT_GATEWAY_URL, stack_name
from tests.infra.synthesize import ROOT
from tests.support.cloud.assembly import Assembly
from tests.support.cloud.environment import ZipFunction
from tests.support.dynamo import REGION

ACCOUNT = "000000000000"
STAGE = "dev"
COMMAND_S = 240
WITHIN_S = 60.0


class Operator:
    """Has the account's credentials, and a folder for what is made."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.endpoint = f"http://127.0.0.1:{port}"
        # What says where packages come from stays; the machine's own AWS settings do not leak in.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "HOME": str(folder),
            "NODE_AT_LEAST": "22",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "CDK_DISABLE_VERSION_CHECK": "1",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

    def cdk(self, *arguments: str) -> None:
        # Data is kept, since what empties a bucket on the way out needs a runtime that the emulator lacks.
        # Neither does it know saved queries, nor alarms over more than one metric.
        chosen = ("bundle_platform=host", "keep_data=true", "observability=false")
        context = [part for each in chosen for part in ("-c", each)]
        command = ("tools/node", "node_modules/.bin/cdk", *arguments, *context, "--output", "out")
        done = self._run(*command)
        assert done.returncode == 0, done.stdout + done.stderr

    def farebox(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(".venv/bin/farebox", *arguments)

    def told(self, *arguments: str) -> dict[str, Any]:
        """Give what a command that succeeds says with `--json`."""
        done = self.farebox(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def apply(self, policy: dict[str, Any]) -> dict[str, str]:
        """Apply a policy, and give the secrets of the keys that it made by their names."""
        path = self.folder / "farebox.json"
        path.write_text(json.dumps(policy))
        created = self.told("apply", str(path))["created_keys"]
        return {each["name"]: each["key"] for each in created}

    def use_admin_plane(self, url: str, admin_key: str) -> None:
        """Point `farebox` at the deployment. The emulator serves function URLs under a path of its own."""
        name = url.removeprefix("https://").split(".")[0]
        self.environment["FAREBOX_URL"] = f"{self.endpoint}/_aws/lambda-url/{name}"
        self.environment["FAREBOX_ADMIN_KEY"] = admin_key

    def proxy(self) -> ZipFunction:
        """Give the proxy as it was deployed: its assets, and the variables that the account says it has."""
        functions = self._aws("lambda", "list_functions")["Functions"]
        [made] = [each for each in functions if "ProxyFunction" in each["FunctionName"]]
        variables = {**made["Environment"]["Variables"], "AWS_ENDPOINT_URL": self.endpoint}
        return Assembly(self.folder / "out", stack_name(STAGE, "gateway")).function("Proxy", variables)

    def outputs(self) -> dict[str, str]:
        """Give what the gateway stack tells."""
        [stack] = self._aws("cloudformation", "describe_stacks", StackName=stack_name(STAGE, "gateway"))[
            "Stacks"
        ]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def gateway_url(self) -> str:
        return self.outputs()[OUTPUT_GATEWAY_URL]

    def left(self) -> dict[str, int]:
        """Count what the account has, by kind; a mailbox of ours that is still open is not its own."""
        found = {
            "functions": self._aws("lambda", "list_functions")["Functions"],
            "queues": [
                url
                for url in self._aws("sqs", "list_queues").get("QueueUrls", [])
                if not url.endswith("/mailbox")
            ],
            "topics": self._aws("sns", "list_topics")["Topics"],
            "event buses": self._aws("events", "list_event_buses")["EventBuses"],
            "tables": self._aws("dynamodb", "list_tables")["TableNames"],
            "secrets": self._aws("secretsmanager", "list_secrets")["SecretList"],
        }
        return {kind: len(each) for kind, each in found.items()}

    def ledger_rows(self) -> int:
        """Count the rows of the usage table, in whatever stacks there still are."""
        [usage] = [
            name for name in self._aws("dynamodb", "list_tables")["TableNames"] if "UsageTable" in name
        ]
        return int(self._aws("dynamodb", "scan", TableName=usage, Select="COUNT")["Count"])

    def open_mailbox(self) -> str:
        """Subscribe a queue to the alerts; give its URL."""
        queue = str(self._aws("sqs", "create_queue", QueueName="mailbox")["QueueUrl"])
        topics = self._aws("sns", "list_topics")["Topics"]
        [topic] = [each["TopicArn"] for each in topics if "AlertTopic" in each["TopicArn"]]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:mailbox"
        self._aws("sns", "subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return queue

    def close_mailbox(self, queue: str) -> None:
        self._aws("sqs", "delete_queue", QueueUrl=queue)

    def alerts(self, queue: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many alerts, for a minute at most; give their documents."""
        found: list[dict[str, Any]] = []
        give_up_at = time.monotonic() + WITHIN_S
        while len(found) < count and time.monotonic() < give_up_at:
            took = self._aws("sqs", "receive_message", QueueUrl=queue, WaitTimeSeconds=5).get("Messages", [])
            for each in took:
                self._aws("sqs", "delete_message", QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
            found += [json.loads(json.loads(each["Body"])["Message"]) for each in took]
        return found

    def sums(self, key: str) -> dict[str, int]:
        """Count the requests of a key in each span of the sums of reports."""
        [table] = [
            name for name in self._aws("dynamodb", "list_tables")["TableNames"] if "RollupsTable" in name
        ]
        items = self._aws("dynamodb", "scan", TableName=table)["Items"]
        return {
            item["pk"]["S"]: int(item["requests"]["N"]) for item in items if item.get("key") == {"S": key}
        }

    def sums_reach(self, key: str, count: int) -> dict[str, int]:
        """Wait until every span of a key's sums has so many requests, for a minute at most; give them."""
        give_up_at = time.monotonic() + WITHIN_S
        while set((sums := self.sums(key)).values()) != {count} and time.monotonic() < give_up_at:
            time.sleep(0.5)  # there is nothing to wait on: the emulator polls by its own clock
        return sums

    def set_relay(self, *, is_on: bool) -> None:
        """Have Lambda bring the relay the stream's records, or not."""
        mappings = self._aws("lambda", "list_event_source_mappings")["EventSourceMappings"]
        [relay] = [each["UUID"] for each in mappings if "/stream/" in each["EventSourceArn"]]
        self._aws("lambda", "update_event_source_mapping", UUID=relay, Enabled=is_on)

    def put_secret(self, name: str, value: str) -> None:
        self._aws("secretsmanager", "put_secret_value", SecretId=name, SecretString=value)

    def _aws(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        client = boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )
        try:
            said: dict[str, Any] = getattr(client, operation)(**arguments)
            return said
        finally:
            client.close()

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        words = [str(self.folder / "out") if word == "out" else word for word in command]
        return subprocess.run(
            words,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
