"""`farebox bootstrap`: the first admin key of a deployment, by the IAM rights of whoever deployed it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from farebox.cli.admin.client import GatewayRefused, GatewayUnreachable
from farebox.cli.options import AsJson
from farebox.cli.tables import print_json, say
from farebox.compose.deployment import (
    BOOTSTRAP_EVENT,
    OUTPUT_ADMIN_FUNCTION,
    OUTPUT_ADMIN_URL,
    OUTPUT_GATEWAY_URL,
    REGION_VARIABLE,
    stack_name,
)
from farebox.compose.settings import process_environment

Stage = Annotated[str, typer.Option(help="The stage that was deployed.")]
Stack = Annotated[str | None, typer.Option(help="The gateway stack, where it is not the stage's own.")]
Region = Annotated[
    str | None, typer.Option(help="The region; else AWS_REGION, else as your AWS profile says.")
]
Profile = Annotated[str | None, typer.Option(help="The AWS profile; else as the environment says.")]


def bootstrap(
    stage: Stage = "dev",
    stack: Stack = None,
    region: Region = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make the first admin key of a deployment and print it, once.

    It invokes the admin function with your own AWS credentials (lambda:InvokeFunction and
    cloudformation:DescribeStacks), is written to the audit log, and works only while there is no admin key.
    """
    name = stack or stack_name(stage, "gateway")
    # What the other AWS tools read; boto3 knows AWS_DEFAULT_REGION alone.
    region = region or process_environment().get(REGION_VARIABLE)
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        if not session.region_name:
            raise GatewayUnreachable("Say with --region, or AWS_REGION, where it was deployed.")
        outputs = _outputs(session, name)
        answer = _invoked(session, outputs[OUTPUT_ADMIN_FUNCTION])
    except NoCredentialsError:
        raise GatewayUnreachable(
            "There are no AWS credentials here: sign in, name a profile with --profile, or set AWS_PROFILE."
        ) from None
    except (BotoCoreError, ClientError) as error:
        raise GatewayUnreachable(str(error)) from None
    except KeyError as missing:
        raise GatewayUnreachable(f"Stack {name} has no output {missing}; is it the gateway stack?") from None
    told = {
        "admin_url": outputs.get(OUTPUT_ADMIN_URL),
        "base_url": outputs.get(OUTPUT_GATEWAY_URL),
        "admin_key": _key_of(answer),
    }
    if as_json:
        print_json(told)
        return
    say("The first admin key, shown once. For the commands of farebox:")
    say(f"  export FAREBOX_URL={told['admin_url']} FAREBOX_ADMIN_KEY={told['admin_key']}")
    say("Then apply a policy and hand out gateway keys.")
    if told["base_url"] is not None:
        say("Each of their owners points Claude Code here:")
        say(f"  export ANTHROPIC_BASE_URL={told['base_url']} ANTHROPIC_AUTH_TOKEN=fb-...")
        say("  export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1")


def _outputs(session: boto3.Session, stack: str) -> dict[str, str]:
    try:
        stacks = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if not str(error).endswith("does not exist"):
            raise
        raise GatewayUnreachable(
            f"There is no stack {stack} in {session.region_name}: deploy it with `make deploy`, "
            "or say with --stage and --region which was deployed and where."
        ) from None
    return {each["OutputKey"]: each["OutputValue"].rstrip("/") for each in stacks[0].get("Outputs", [])}


def _invoked(session: boto3.Session, function: str) -> Any:
    answer = session.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(BOOTSTRAP_EVENT).encode()
    )
    return json.loads(answer["Payload"].read())


def _key_of(answer: Any) -> str:
    if isinstance(answer, dict) and isinstance(key := answer.get("admin_key"), str):
        return key
    told = answer.get("error") or answer.get("errorMessage") if isinstance(answer, dict) else None
    raise GatewayRefused(str(told or "The admin function gave no key and no reason; see its log."))
