"""What is called over the network: the proxy and the admin plane, each behind a function URL of its own."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from msgspec.structs import replace

from farebox.compose.deployment import (
    OUTPUT_ADMIN_FUNCTION,
    OUTPUT_ADMIN_URL,
    OUTPUT_GATEWAY_URL,
    Deployment,
    deployment_environment,
    event_bus_name,
)
from infra.bundle import PYTHON, compiler, dependency_layer
from infra.cloud_rights import cloud_rights
from infra.function import Function
from infra.layers import core_version, functions_version, layer_version
from infra.options import Options
from infra.rights import (
    admin_rights,
    answers_resource,
    event_bus_arn,
    proxy_rights,
)
from infra.stack import Stack, acknowledge
from infra.storage_stack import StorageStack

ADMIN_TIMEOUT = cdk.Duration.seconds(30)

PROXY_TIMEOUT = cdk.Duration.minutes(15)
"""The longest that Lambda allows: a stream that is cut is a turn that is paid for twice."""

PROXY_BODY_BYTES_MAX = 5_500_000
"""Lambda refuses an event above 6 MB itself, in a shape that no client knows. A body travels in it as a JSON
text, which its quotes and backslashes make longer.
"""

RUNTIME = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/stream-bootstrap"}
"""Python's managed runtime cannot stream; the wrapper starts the one in the core layer."""

PROXY_ALIAS = "live"

NOT_COMPILED = (
    f"There is no Python {PYTHON} on this machine, so layers go without bytecode: functions compile their "
    "code at each cold start, which costs some tenths of a second."
)

CACHE_REASON = "Answers are objects of any name below one prefix of the cache bucket."


class GatewayStack(Stack):
    """The proxy and the admin function over the storage stack's tables."""

    def __init__(self, app: cdk.App, options: Options, storage: StorageStack) -> None:
        super().__init__(app, options, "gateway", "the functions that are called over the network")
        if compiler(options.bundle_platform) is None:
            cdk.Annotations.of(self).add_info(NOT_COMPILED)
        self._core, self._functions = core_version(self), functions_version(self)
        self.deployment = Deployment(options.stage, storage.table_names, secret_prefix=storage.secret_prefix)
        # By its name alone: the bus is made by a stack that needs this one.
        self.event_bus = event_bus_name(options.stage)
        self.proxy = self._proxy(storage)
        self.admin = self._admin(storage)

    def _proxy(self, storage: StorageStack) -> Function:
        limits = {"FAREBOX_MAX_BODY_BYTES": str(PROXY_BODY_BYTES_MAX)}
        if self.options.trusted_hosts:
            limits["FAREBOX_TRUSTED_HOSTS"] = ",".join(self.options.trusted_hosts)
        libraries = layer_version(
            self,
            "ProxyLayer",
            dependency_layer("proxy.txt", self.options.bundle_platform),
            "what the proxy depends on",
        )
        told = replace(self.deployment, cache_bucket=storage.cache_bucket.bucket_name)
        function = Function(
            self,
            "proxy",
            "the gateway",
            layers=[self._core, libraries],
            environment={**deployment_environment(told), **RUNTIME, **limits},
            rights=proxy_rights(self, storage),
            timeout=PROXY_TIMEOUT,
            memory_mb=self.options.proxy_memory_mb,
            reserved_concurrency=self.options.proxy_concurrency,
        )
        for right in cloud_rights(self.options, "<AWS::Partition>", "<AWS::AccountId>"):
            for resource in right.resources:
                if "*" in resource:
                    acknowledge(function.policy, f"IAM5[Resource::{resource}]", right.reason)
        answers = answers_resource(self, storage)
        acknowledge(function.policy, f"IAM5[Resource::{answers}]", CACHE_REASON)
        # A new version takes over at once and whole, and the one before it can be pointed to again.
        live = lambda_.Alias(self, "ProxyLive", alias_name=PROXY_ALIAS, version=function.current_version)
        # Callers have no IAM identity: each request must bear a gateway key, which the function checks first.
        url = live.add_function_url(
            auth_type=lambda_.FunctionUrlAuthType.NONE, invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM
        )
        cdk.CfnOutput(
            self, OUTPUT_GATEWAY_URL, value=url.url, description="ANTHROPIC_BASE_URL of Claude Code"
        )
        return function

    def _admin(self, storage: StorageStack) -> Function:
        function = Function(
            self,
            "admin",
            "the admin plane",
            layers=[self._core, self._functions],
            environment=deployment_environment(replace(self.deployment, event_bus=self.event_bus)),
            rights=admin_rights(storage, event_bus_arn(self, self.event_bus)),
            timeout=ADMIN_TIMEOUT,
            memory_mb=self.options.admin_memory_mb,
            # Kept free for it, so that a flood of requests to the proxy cannot lock the administrators out.
            reserved_concurrency=self.options.admin_concurrency,
        )
        # Callers have no IAM identity: each request must bear an admin key, which the function checks first.
        url = function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
        self.admin_url = url.url
        cdk.CfnOutput(self, OUTPUT_ADMIN_URL, value=url.url, description="Where `farebox` commands go")
        cdk.CfnOutput(
            self,
            OUTPUT_ADMIN_FUNCTION,
            value=function.function_name,
            description="What `farebox bootstrap` invokes for the first admin key",
        )
        return function
