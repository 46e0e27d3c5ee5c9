"""What is called over the network: so far the admin plane, behind a function URL of its own."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from farebox.adapters.aws.tables import BUDGETS, BY_LEASE, BY_SESSION, BY_TIME, KEYS, ROLLUPS, USAGE
from farebox.compose.deployment import (
    OUTPUT_ADMIN_FUNCTION,
    OUTPUT_ADMIN_URL,
    Deployment,
    deployment_environment,
)
from infra.bundle import PYTHON, core_layer, dependency_layer
from infra.function import Function
from infra.options import Options
from infra.rights import APPEND, READ, WRITE, on_table
from infra.stack import Stack, acknowledge
from infra.storage_stack import StorageStack

ADMIN_TIMEOUT = cdk.Duration.seconds(30)


class GatewayStack(Stack):
    """The admin function over the storage stack's tables."""

    def __init__(self, app: cdk.App, options: Options, storage: StorageStack) -> None:
        super().__init__(app, options, "gateway", "the functions that are called over the network")
        self._layers = [
            self._layer("CoreLayer", core_layer(), "the package farebox"),
            self._layer(
                "FunctionsLayer",
                dependency_layer("functions.txt", options.bundle_platform),
                "what the functions beside the proxy depend on",
            ),
        ]
        self._admin(storage)

    def _admin(self, storage: StorageStack) -> None:
        deployment = Deployment(self.options.stage, storage.table_names, secret_prefix=storage.secret_prefix)
        function = Function(
            self,
            "admin",
            "the admin plane",
            layers=self._layers,
            environment=deployment_environment(deployment),
            rights=_admin_rights(storage),
            timeout=ADMIN_TIMEOUT,
            memory_mb=self.options.admin_memory_mb,
            # Kept free for it, so that a flood of requests to the proxy cannot lock the administrators out.
            reserved_concurrency=self.options.admin_concurrency,
        )
        acknowledge(function, "L1", f"farebox is tested on Python {PYTHON}, and moves when its suite has.")
        # Callers have no IAM identity: each request must bear an admin key, which the function checks first.
        url = function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
        cdk.CfnOutput(self, OUTPUT_ADMIN_URL, value=url.url, description="Where `farebox` commands go")
        cdk.CfnOutput(
            self,
            OUTPUT_ADMIN_FUNCTION,
            value=function.function_name,
            description="What `farebox bootstrap` invokes for the first admin key",
        )

    def _layer(self, name: str, code: lambda_.Code, holds: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            name,
            code=code,
            description=f"farebox {self.options.stage}: {holds}",
            compatible_architectures=[lambda_.Architecture.ARM_64],
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
        )


def _admin_rights(storage: StorageStack) -> list[iam.PolicyStatement]:
    tables = storage.tables
    return [
        on_table(tables[KEYS.name], *READ, *WRITE),
        # `farebox ledger verify` recomputes every bucket from every row, so it alone has to scan.
        on_table(tables[BUDGETS.name], *READ, "Scan", *WRITE, indexes=[BY_LEASE]),
        on_table(tables[USAGE.name], *READ, "Scan", *APPEND, indexes=[BY_TIME, BY_SESSION]),
        on_table(tables[ROLLUPS.name], "Query"),
    ]
