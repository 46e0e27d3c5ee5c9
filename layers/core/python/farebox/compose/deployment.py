"""What a function of a deployment is told through its environment: the stacks write it, it reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields

from msgspec import Struct

from farebox.adapters.aws.tables import TableNames
from farebox.domain.errors import ConfigInvalid

ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
"""AWS's own name for another endpoint of all services; how an offline cloud is reached."""

REGION_VARIABLE = "AWS_REGION"
"""Lambda sets it."""

OUTPUT_GATEWAY_URL = "GatewayUrl"
OUTPUT_ADMIN_URL = "AdminUrl"
OUTPUT_ADMIN_FUNCTION = "AdminFunctionName"
"""What the gateway stack tells after it was deployed; `farebox bootstrap` reads it."""

BOOTSTRAP_EVENT = {"farebox": "bootstrap"}
"""What the admin function is invoked with for the first admin key. No caller of its URL can send this: there
every event has a request context.
"""

_TABLE_VARIABLES = tuple(f"FAREBOX_{field.name.upper()}_TABLE" for field in fields(TableNames))
_VARIABLES = {
    "stage": "FAREBOX_STAGE",
    "event_bus": "FAREBOX_EVENT_BUS",
    "alert_topic_arn": "FAREBOX_ALERT_TOPIC_ARN",
    "cache_bucket": "FAREBOX_CACHE_BUCKET",
    "secret_prefix": "FAREBOX_SECRET_PREFIX",
    "admin_url": "FAREBOX_URL",
}
DEAD_LETTERS_VARIABLE = "FAREBOX_DEAD_LETTER_QUEUES"


class Deployment(Struct, frozen=True):
    """One stage in one account. A function that does not need a part is not told it.

    `secret_prefix` is what names of provider credentials in Secrets Manager begin with; `dead_letter_queues`
    are URLs; `region` and `endpoint_url` come from Lambda and from AWS's own variable, never from the stacks.
    """

    stage: str
    tables: TableNames
    event_bus: str | None = None
    alert_topic_arn: str | None = None
    cache_bucket: str | None = None
    secret_prefix: str | None = None
    admin_url: str | None = None
    dead_letter_queues: tuple[str, ...] = ()
    region: str = ""
    endpoint_url: str | None = None


def stack_name(stage: str, part: str) -> str:
    """Name a stack; the parts are storage, gateway, jobs and observability."""
    return f"farebox-{stage}-{part}"


def event_bus_name(stage: str) -> str:
    """Name the event bus; by its name the admin function knows it before it is made."""
    return f"farebox-{stage}"


def deployment_environment(deployment: Deployment) -> dict[str, str]:
    """Write the variables of a function; those of parts it is not told are left out."""
    named = {variable: getattr(deployment, field) for field, variable in _VARIABLES.items()}
    named[DEAD_LETTERS_VARIABLE] = ",".join(deployment.dead_letter_queues) or None
    tables = dict(zip(_TABLE_VARIABLES, astuple(deployment.tables), strict=True))
    return {variable: value for variable, value in (named | tables).items() if value is not None}


def load_deployment(environment: Mapping[str, str]) -> Deployment:
    """Read what `deployment_environment` wrote. Raises `ConfigInvalid` naming a missing variable."""
    tables = TableNames(*(_required(environment, variable) for variable in _TABLE_VARIABLES))
    parts = {field: environment.get(variable) or None for field, variable in _VARIABLES.items()}
    stage = _required(environment, _VARIABLES["stage"])
    return Deployment(
        stage=stage,
        tables=tables,
        event_bus=parts["event_bus"],
        alert_topic_arn=parts["alert_topic_arn"],
        cache_bucket=parts["cache_bucket"],
        secret_prefix=parts["secret_prefix"],
        admin_url=parts["admin_url"],
        dead_letter_queues=tuple(filter(None, environment.get(DEAD_LETTERS_VARIABLE, "").split(","))),
        region=_required(environment, REGION_VARIABLE),
        endpoint_url=environment.get(ENDPOINT_VARIABLE) or None,
    )


def _required(environment: Mapping[str, str], variable: str) -> str:
    value = environment.get(variable)
    if not value:
        raise ConfigInvalid(variable, "is not set; the deployment's stacks set it")
    return value
