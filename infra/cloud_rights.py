"""What the proxy's role may do in the clouds that answer: models of Bedrock, workspaces, other roles.

Sources: Service Authorization Reference of Amazon Bedrock and Amazon Bedrock Mantle; "IAM actions for Claude
Platform on AWS"; "Prerequisites for inference profiles", docs.aws.amazon.com. Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.options import Options

MODELS_REASON = "The option bedrock_models names models by families, and a profile sends them to any region."
PLACES_REASON = "The option names them by their ids; in which region each is, providers of the policy say."


@dataclass(frozen=True, slots=True)
class CloudRight:
    """Actions on resources. `reason` is why the names of these may hold a wildcard."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str


def cloud_rights(options: Options, partition: str, account: str) -> Iterator[CloudRight]:
    """Give the rights that a deployment's options ask for, and no others."""
    if options.bedrock_models:
        yield CloudRight(
            ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream", "bedrock:CountTokens"),
            tuple(_model_arns(options.bedrock_models, partition, account)),
            MODELS_REASON,
        )
    if options.mantle_projects:
        yield CloudRight(
            ("bedrock-mantle:CreateInference", "bedrock-mantle:CountTokens"),
            tuple(
                f"arn:{partition}:bedrock-mantle:*:{account}:project/{project}"
                for project in options.mantle_projects
            ),
            PLACES_REASON,
        )
    if options.anthropic_workspaces:
        yield CloudRight(
            ("aws-external-anthropic:CreateInference", "aws-external-anthropic:CountTokens"),
            tuple(
                f"arn:{partition}:aws-external-anthropic:*:{account}:workspace/{workspace}"
                for workspace in options.anthropic_workspaces
            ),
            PLACES_REASON,
        )
    if options.assume_roles:
        yield CloudRight(("sts:AssumeRole",), options.assume_roles, "Roles are named in full.")


def _model_arns(models: tuple[str, ...], partition: str, account: str) -> Iterator[str]:
    """Name models and the profiles in front of them, in whatever region a profile sends a request to.

    A profile opens nothing by itself: IAM asks for the right on the model behind it too. Behind a global one
    that is a model without a region, which the wildcard covers.
    """
    arn = f"arn:{partition}:bedrock:*:"
    for model in models:
        yield f"{arn}:foundation-model/{model}"
        yield f"{arn}{account}:inference-profile/*{model}"
    yield f"{arn}{account}:application-inference-profile/*"
