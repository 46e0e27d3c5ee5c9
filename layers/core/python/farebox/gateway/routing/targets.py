"""Which provider and model a target means for one caller: what the config says, what the request names, and
what key, workspace and provider admit.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.config import (
    TYPES_OF_PORTKEY,
    Policy,
    ProviderSpec,
    Target,
    Workspace,
    admits,
    admits_model,
)
from farebox.domain.errors import PolicyRefused, ProviderUnresolved, RequestMalformed
from farebox.domain.plan import Caller
from farebox.domain.routing.reading import ROOT, config_tree
from farebox.domain.routing.tree import Leaf, Node
from farebox.domain.routing.walk import leaves
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.routing.asked import asked_of, check_host
from farebox.wire.messages import MessagesHead

VERSION_DIGITS_MAX = 9

_json = msgspec.json.Decoder()


class Targets(Struct, frozen=True):
    """The targets of one request. `named` is the provider that the request itself names, for those that leave
    it open; `model` is the one that it asks for, bare.
    """

    tree: Node
    named: str | None
    model: str
    other_models: tuple[str, ...]
    caller: Caller
    workspace: Workspace
    policy: Policy

    @property
    def may_override(self) -> bool:
        """Whether the caller may choose what a config would say."""
        return _may_override(self.caller, self.workspace)

    def target(self, leaf: Leaf) -> Target:
        """Give provider and model of a leaf. Raises `PolicyRefused` and `ProviderUnresolved`."""
        name, model = self._asked_for(leaf)
        for owner, patterns in (("key", self.caller.key.models), ("workspace", self.workspace.models)):
            _check_admitted(f"for this {owner}", patterns, (model, *self.other_models))
        reachable = [spec for spec in self.policy.providers if self._may_reach(spec)]
        if name is not None:
            spec = _named_provider(name, reachable)
            _check_admitted(f"at provider '{spec.slug}'", spec.models, (model, *self.other_models))
            return _target(spec, model, leaf)
        for spec in reachable:
            if admits_model(spec.models, model):
                _check_admitted(f"at provider '{spec.slug}'", spec.models, self.other_models)
                return _target(spec, model, leaf)
        raise ProviderUnresolved(
            f"No provider you may use serves model '{model}'. Name one with the header "
            "x-farebox-provider: @slug or as @slug/model, use a config, or ask your administrator "
            "to add the model to a provider."
        )

    def _asked_for(self, leaf: Leaf) -> tuple[str | None, str]:
        if leaf.model is None:
            return leaf.provider or self.named, self.model
        if leaf.model.startswith("@"):
            slug, _, model = leaf.model.partition("/")
            return slug, model
        return leaf.provider or self.named, leaf.model

    def _may_reach(self, spec: ProviderSpec) -> bool:
        return admits(self.caller.key.providers, spec.slug) and admits(self.workspace.providers, spec.slug)


def find_targets(request: IncomingRequest, head: MessagesHead, caller: Caller, policy: Policy) -> Targets:
    """Read where a request may go: the config of the request, the key or the workspace, or the one provider
    that the request names instead. As with Portkey, a header names one only for targets that leave it open
    where the request brings its own config.

    Raises `ConfigInvalid`, `PolicyRefused` and `RequestMalformed`.
    """
    workspace = policy.workspaces.get(caller.key.workspace)
    if workspace is None:  # its narrowing is gone with it: refuse closed
        raise PolicyRefused(f"The workspace '{caller.key.workspace}' of this key does not exist any more.")
    named, model = _named_in_request(request, head.model)
    tree = _config_tree(request, caller, workspace, policy)
    is_for_open_targets = bool(request.farebox_header(b"config")) and not head.model.startswith("@")
    if named is not None and not is_for_open_targets and any(_decides(leaf) for leaf in leaves(tree)):
        if not _may_override(caller, workspace):
            raise PolicyRefused("This key uses a fixed config; no other provider may be named with it.")
        if not any(leaf.provider is None for leaf in leaves(tree)):
            tree = Leaf(ROOT)
    asked = asked_of(request, workspace)
    if asked.custom_host is not None and not _may_override(caller, workspace):
        raise PolicyRefused("This key uses a fixed config; x-farebox-custom-host is not allowed with it.")
    return Targets(asked.over(tree), named, model, head.other_models, caller, workspace, policy)


def first_leaf(node: Node) -> Leaf:
    """Give the target that is written first."""
    return next(leaves(node))


def _decides(leaf: Leaf) -> bool:
    """Whether a config says which provider or which model it shall be."""
    return leaf.provider is not None or leaf.model is not None


def _named_in_request(request: IncomingRequest, model: str) -> tuple[str | None, str]:
    """Give the provider that the request itself names, and the bare model."""
    if model.startswith("@"):
        slug, _, bare = model.partition("/")
        if not bare:
            raise RequestMalformed(f"model: '{model}' should read @provider/model.")
        return slug, bare
    older = request.farebox_header(b"virtual-key")  # Portkey's, before providers had slugs
    return request.farebox_header(b"provider") or (f"@{older.removeprefix('@')}" if older else None), model


def _may_override(caller: Caller, workspace: Workspace) -> bool:
    return caller.key.allow_config_override and workspace.allow_config_override


def _config_tree(request: IncomingRequest, caller: Caller, workspace: Workspace, policy: Policy) -> Node:
    asked = request.farebox_header(b"config")
    if asked:
        if not _may_override(caller, workspace):
            raise PolicyRefused("This key uses a fixed config; x-farebox-config is not allowed with it.")
        if asked.startswith("{"):
            return _inline_tree(asked, workspace)
    name = asked or caller.key.config or workspace.config
    return Leaf(ROOT) if name is None else _saved_tree(name, policy)


def _inline_tree(text: str, workspace: Workspace) -> Node:
    try:
        document = _json.decode(text.encode("latin-1"))
    except (ValueError, RecursionError):
        raise RequestMalformed("x-farebox-config: is neither a config's slug nor a JSON object.") from None
    tree = config_tree(document)
    for leaf in leaves(tree):
        if leaf.custom_host is not None:
            check_host(leaf.custom_host, workspace, f"{leaf.path}.custom_host")
    return tree


def _saved_tree(name: str, policy: Policy) -> Node:
    """Find a saved config by 'slug', or as one version had it by 'slug@version'."""
    slug, _, version = name.partition("@")
    saved = policy.configs.get(slug)
    is_version = version.isascii() and version.isdigit() and len(version) <= VERSION_DIGITS_MAX
    if saved is None or not (version == "" or is_version):
        raise PolicyRefused(f"There is no config '{name}'.")
    return saved.tree(int(version) if version else None)


def _target(spec: ProviderSpec, model: str, leaf: Leaf) -> Target:
    if leaf.custom_host is None:
        return Target(spec, model)
    return Target(replace(spec, base_url=leaf.custom_host, is_host_chosen=True), model)


def _check_admitted(where: str, patterns: tuple[str, ...], models: Iterable[str]) -> None:
    for model in models:
        if not admits_model(patterns, model):
            raise PolicyRefused(f"Model '{model}' is not allowed {where} (allowed: {', '.join(patterns)}).")


def _named_provider(name: str, reachable: list[ProviderSpec]) -> ProviderSpec:
    slug = name.removeprefix("@")
    for spec in reachable:
        if spec.slug == slug:
            return spec
    if not name.startswith("@"):
        kind = TYPES_OF_PORTKEY.get(name, name)
        for spec in reachable:
            if spec.type == kind and spec.uses_caller_credential:
                return spec
    slugs = ", ".join(f"@{spec.slug}" for spec in reachable) or "none"
    raise PolicyRefused(f"There is no provider '{name}' that you may use (yours: {slugs}).")
