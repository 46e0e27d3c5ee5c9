"""The items behind one key: its own, one for its id, for each secret, and for its name while it is open.

All of them change in one transaction, on the condition that the key's own item is what was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

import msgspec
from msgspec import Struct

from farebox.adapters.aws.codec import json_text
from farebox.adapters.aws.dynamodb.actions import Action, Key, delete, put
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.domain.identity import AdminKey, GatewayKey

AnyKey: TypeAlias = GatewayKey | AdminKey
Secrets: TypeAlias = Mapping[str, int | None]
"""Hashes in hexadecimal, and until when in microseconds each opens the key; None is without end."""

GATEWAY, ADMIN = "gateway_key", "admin_key"

_END_OF_NAME = "\x1f"
_NOT_THERE = "attribute_not_exists(#pk)"
_IS_KNOWN = "#revision = :known"
_secrets = msgspec.json.Decoder(dict[str, int | None]).decode
_gateway_key = msgspec.json.Decoder(GatewayKey).decode
_admin_key = msgspec.json.Decoder(AdminKey).decode


class StoredKey(Struct, frozen=True):
    """One key as it is stored. `revision` names the write that made it so."""

    key: AnyKey
    secrets: Secrets
    revision: str

    @classmethod
    def read(cls, item: Item) -> StoredKey:
        """Read a key's own item."""
        return cls(document_of(item), _secrets(cast(str, item["secrets"])), cast(str, item["revision"]))


def own_key(key: AnyKey) -> Key:
    """Say where a key's own item is: by kind, in the order of names."""
    return {"pk": kind_of(key), "sk": place_of(key.name, key.id)}


def place_of(name: str, key_id: str = "") -> str:
    """Give the sort key of a key, or what the sort keys of all keys of one name begin with."""
    return f"{name}{_END_OF_NAME}{key_id}"


def id_key(kind: str, key_id: str) -> Key:
    """Say where the item is that gives the name behind an id."""
    return {"pk": f"{kind}#{key_id}", "sk": "-"}


def secret_key(key_hash: str) -> Key:
    """Say where the item is that a secret is looked up by."""
    return {"pk": f"secret#{key_hash}", "sk": "-"}


def kind_of(key: AnyKey) -> str:
    """Tell the two kinds of keys apart."""
    return GATEWAY if isinstance(key, GatewayKey) else ADMIN


def document_of(item: Item) -> AnyKey:
    """Read the key out of its own item or out of one of its secrets'."""
    decode = _gateway_key if item["kind"] == GATEWAY else _admin_key
    return decode(cast(str, item["document"]))


def name_actions(table: str, old: AnyKey | None, new: AnyKey) -> list[Action]:
    """Take the name that `new` needs, which fails where another open key has it, and free the old one."""
    taken, needed = _open_name(old), _open_name(new)
    if taken == needed:
        return []
    actions = []
    if needed:
        actions.append(put(table, {"pk": needed, "sk": "-", "key_id": new.id}, _NOT_THERE))
    if taken:
        actions.append(delete(table, {"pk": taken, "sk": "-"}))
    return actions


def key_actions(table: str, old: StoredKey | None, new: StoredKey) -> list[Action]:
    """Write everything but the name. The first fails where the key is not what was read."""
    key = new.key
    document: dict[str, Value] = {"kind": kind_of(key), "document": json_text(key)}
    own = {**own_key(key), **document, "secrets": json_text(new.secrets), "revision": new.revision}
    named = put(table, {**id_key(kind_of(key), key.id), "name": key.name})
    if old is None:
        actions = [put(table, own, _NOT_THERE), named]
    elif own_key(old.key) == own_key(key):
        actions = [put(table, own, _IS_KNOWN, known=old.revision)]
    else:
        gone = delete(table, own_key(old.key), _IS_KNOWN, known=old.revision)
        actions = [gone, put(table, own, _NOT_THERE), named]
    gone_secrets = old.secrets.keys() - new.secrets.keys() if old else set()
    actions += [delete(table, secret_key(key_hash)) for key_hash in sorted(gone_secrets)]
    for key_hash, valid_until_us in new.secrets.items():
        opens = {**secret_key(key_hash), **document, "valid_until_us": valid_until_us}
        is_new = old is None or key_hash not in old.secrets
        actions.append(put(table, opens, _NOT_THERE if is_new else ""))
    return actions


def _open_name(key: AnyKey | None) -> str | None:
    if key is None or key.revoked_at is not None:
        return None
    workspace = key.workspace if isinstance(key, GatewayKey) else None
    return f"open_name#{json_text([kind_of(key), workspace, key.name])}"
