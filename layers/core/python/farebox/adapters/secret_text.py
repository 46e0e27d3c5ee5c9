"""What a stored secret may look like: a line of plain text, or a JSON document as its vendor wrote it."""

from __future__ import annotations

from farebox.domain.errors import ConfigInvalid


def one_line(reference: str, text: str) -> str:
    """Give a secret as one line of plain text, a JSON document with spaces for its line ends, between which
    alone they may stand. Raises `ConfigInvalid` naming the reference.
    """
    secret = text.strip() if text.lstrip().startswith("{") else text.rstrip("\r\n")
    if secret.startswith("{"):
        secret = " ".join(secret.split("\n")).replace("\r", " ").replace("\t", " ")
    if not secret:
        raise ConfigInvalid(reference, "there is no credential here")
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigInvalid(reference, "the credential is not one line of plain text")
    return secret
