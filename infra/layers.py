"""The layers of a stack's functions. Every stack makes its own, out of the same files.

A version of a layer is made anew with each change, and CloudFormation replaces nothing that another stack
imports: a layer that two stacks share could be deployed once and never changed.
"""

from __future__ import annotations

from aws_cdk import aws_lambda as lambda_

from infra.bundle import core_layer, dependency_layer
from infra.stack import Stack


def core_version(stack: Stack) -> lambda_.LayerVersion:
    """Make the layer with the package."""
    return layer_version(stack, "CoreLayer", core_layer(stack.options.bundle_platform), "the package farebox")


def functions_version(stack: Stack) -> lambda_.LayerVersion:
    """Make the layer with what the functions beside the proxy depend on."""
    libraries = dependency_layer("functions.txt", stack.options.bundle_platform)
    return layer_version(stack, "FunctionsLayer", libraries, "what the functions beside the proxy depend on")


def layer_version(stack: Stack, name: str, code: lambda_.Code, holds: str) -> lambda_.LayerVersion:
    """Make a layer of a stack."""
    return lambda_.LayerVersion(
        stack,
        name,
        code=code,
        description=f"farebox {stack.options.stage}: {holds}",
        compatible_architectures=[lambda_.Architecture.ARM_64],
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
    )
