"""Whatever the proxy may ask of a cloud, its role is allowed to, and only where options say so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import pytest
from msgspec.structs import replace

from farebox.domain.config import CloudSettings, ProviderSpec
from farebox.providers.base import COUNT_TOKENS, MESSAGES, Call, Signing
from farebox.providers.registry import PROVIDERS
from farebox.wire.http import HttpRequest
from farebox.wire.sigv4 import AwsCredentials
from infra.cloud_rights import cloud_rights
from infra.options import Options
from tests.infra.conftest import Cloud
from tests.infra.parts import listed, statements

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/claude"
PROFILE = f"arn:aws:bedrock:eu-central-1:{ACCOUNT}:application-inference-profile/abc123"
MODEL = "claude-sonnet-4-5"
EVERYTHING = Options(
    mantle_projects=("default",), anthropic_workspaces=("wrkspc_01Ab",), assume_roles=(ROLE,)
)
BEDROCK = ProviderSpec("b", "bedrock", "aws", region="eu-central-1")
PLATFORM = ProviderSpec(
    "p", "anthropic-aws", "aws", region="us-west-2", cloud=CloudSettings(workspace_id="wrkspc_01Ab")
)


def bedrock(**settings: Any) -> ProviderSpec:
    return replace(BEDROCK, cloud=CloudSettings(**settings))


SPECS = {
    "the profile of the region": BEDROCK,
    "a global profile": bedrock(inference_profile="global"),
    "no profile": bedrock(inference_profile="none"),
    "an application inference profile": bedrock(model_ids={MODEL: PROFILE}),
    "its Messages API": bedrock(endpoint="messages"),
    "mantle": bedrock(endpoint="mantle"),
    "Claude Platform on AWS": PLATFORM,
}


@dataclass(frozen=True)
class Need:
    """What IAM asks for before a request is served."""

    action: str
    resource: str


def calls() -> Iterator[Call]:
    body = json.dumps({"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
    for operation, is_stream in ((MESSAGES, False), (MESSAGES, True), (COUNT_TOKENS, False)):
        keys = AwsCredentials("AKIDEXAMPLE", "secret")
        yield Call(operation, b"", [], body.encode(), is_stream, None, keys, None)


def needs(spec: ProviderSpec, call: Call) -> Iterator[Need]:
    """Say what a call needs, from the request that goes out and the service that it is signed for.

    Source: Service Authorization Reference of each service, read 2026-11.
    """
    provider = PROVIDERS[spec.type]
    assert isinstance(provider, Signing)
    request, service = provider.request(spec, call), provider.signs_for(spec).service
    if service == "bedrock":
        yield from bedrock_needs(request, call)
        return
    place = {"bedrock-mantle": "project/default", "aws-external-anthropic": "workspace/wrkspc_01Ab"}[service]
    action = "CountTokens" if request.target.endswith(b"/count_tokens") else "CreateInference"
    yield Need(f"{service}:{action}", f"arn:aws:{service}:{spec.region}:{ACCOUNT}:{place}")


def bedrock_needs(request: HttpRequest, call: Call) -> Iterator[Need]:
    path = request.target.decode()
    if path.startswith("/model/"):
        model, verb = path.removeprefix("/model/").split("/")
        model = unquote(model)
    else:
        model, verb = json.loads(request.body)["model"], path.removeprefix("/anthropic/v1/messages")
    action = "InvokeModelWithResponseStream" if call.is_stream else "InvokeModel"
    if verb in ("count-tokens", "/count_tokens"):
        action = "CountTokens"
    yield from (Need(f"bedrock:{action}", arn) for arn in model_arns(model))


def model_arns(model: str) -> Iterator[str]:
    """Give a model, or a profile and the models behind it: in its regions, or in none for a global one."""
    if model == PROFILE:
        yield PROFILE
        yield f"arn:aws:bedrock:eu-west-3::foundation-model/anthropic.{MODEL}-20250929-v1:0"
        return
    family, found, rest = model.partition("anthropic.")
    assert found
    if family:
        yield f"arn:aws:bedrock:eu-central-1:{ACCOUNT}:inference-profile/{model}"
    places = [""] if family == "global." else ["eu-central-1", "eu-north-1"]
    yield from (f"arn:aws:bedrock:{place}::foundation-model/anthropic.{rest}" for place in places)


def refused(spec: ProviderSpec, options: Options) -> set[Need]:
    rights = list(cloud_rights(options, "aws", ACCOUNT))
    return {
        need
        for call in calls()
        for need in needs(spec, call)
        if not any(
            need.action in right.actions and any(fnmatchcase(need.resource, each) for each in right.resources)
            for right in rights
        )
    }


@pytest.mark.parametrize("name", SPECS)
def test_the_role_may_do_what_a_provider_asks(name: str) -> None:
    assert refused(SPECS[name], EVERYTHING) == set()


@pytest.mark.parametrize("name", ["mantle", "Claude Platform on AWS"])
def test_without_the_option_the_role_may_do_nothing_there(name: str) -> None:
    assert len({need.action for need in refused(SPECS[name], Options())}) == 2
    assert {right.actions[0] for right in cloud_rights(Options(), "aws", ACCOUNT)} == {"bedrock:InvokeModel"}


def test_another_workspace_project_family_or_role_is_not_opened() -> None:
    other = dataclasses.replace(EVERYTHING, anthropic_workspaces=("wrkspc_2",), mantle_projects=("other",))
    assert refused(SPECS["Claude Platform on AWS"], other)
    assert refused(SPECS["mantle"], other)
    assert refused(BEDROCK, Options(bedrock_models=("amazon.nova-*",)))
    [assuming] = [each for each in cloud_rights(other, "aws", ACCOUNT) if "sts:AssumeRole" in each.actions]
    assert assuming.resources == (ROLE,)


def test_the_templates_have_the_rights_that_were_asked_for(dev: Cloud, prod: Cloud) -> None:
    def actions(cloud: Cloud) -> set[str]:
        return {action for each in statements(cloud, "proxy") for action in listed(each["Action"])}

    asked_for = {
        "bedrock-mantle:CreateInference",
        "bedrock-mantle:CountTokens",
        "aws-external-anthropic:CreateInference",
        "aws-external-anthropic:CountTokens",
        "sts:AssumeRole",
    }
    assert actions(prod) - actions(dev) == asked_for
    [assuming] = [each for each in statements(prod, "proxy") if each["Action"] == "sts:AssumeRole"]
    assert assuming["Resource"] == ROLE
    others = json.dumps([statements(prod, name) for name in ("admin", "usage_aggregator", "hold_sweeper")])
    assert not any(action in others for action in asked_for)
