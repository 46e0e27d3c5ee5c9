"""One deployment: its stacks, what they share, and the security checks that every synthesis passes."""

from __future__ import annotations

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from farebox.adapters.aws.tables import BUDGETS
from infra.gateway_stack import GatewayStack
from infra.jobs_stack import JobsStack
from infra.observability.watched import Watched
from infra.observability_stack import ObservabilityStack
from infra.options import Options
from infra.storage_stack import StorageStack


def build_stacks(app: cdk.App, options: Options) -> None:
    """Add the stacks of one deployment to the app."""
    for name, value in {"farebox:stage": options.stage, **options.tags}.items():
        cdk.Tags.of(app).add(name, value)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    storage = StorageStack(app, options)
    gateway = GatewayStack(app, options, storage)
    jobs = JobsStack(app, options, storage, gateway)
    if options.observability:
        ObservabilityStack(app, options, watched(storage, gateway, jobs))


def watched(storage: StorageStack, gateway: GatewayStack, jobs: JobsStack) -> Watched:
    """Say what there is to look at."""
    return Watched(
        storage.tables[BUDGETS.name],
        functions={
            "proxy": gateway.proxy,
            "admin": gateway.admin,
            "ledger_relay": jobs.relay,
            "usage_aggregator": jobs.aggregator,
            "budget_notifier": jobs.notifier,
            "hold_sweeper": jobs.sweeper,
        },
        proxy=gateway.proxy,
        proxy_log=gateway.proxy.log_group,
        notifier_log=jobs.notifier.log_group,
        relay=jobs.relay,
        sweeper=jobs.sweeper,
        dead_letters=jobs.dead_letters,
    )
