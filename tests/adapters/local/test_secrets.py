"""Provider credentials from the environment and from files, fresh and never in an error."""

import json
import os
from pathlib import Path

import pytest

from farebox.adapters.local.secrets import MAX_SECRET_BYTES, LocalSecrets
from farebox.domain.errors import ConfigInvalid

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
async def test_a_trailing_newline_is_no_part_of_the_secret(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {CANARY}{ending}".encode())
    secrets = LocalSecrets({"KEY": f" {CANARY}{ending}"})
    assert await secrets.resolve("env:KEY") == f" {CANARY}"
    assert await secrets.resolve(f"file:{path}") == f" {CANARY}"


async def test_the_environment_is_read_at_each_call() -> None:
    environment = {"KEY": "old"}
    secrets = LocalSecrets(environment)
    assert await secrets.resolve("env:KEY") == "old"
    environment["KEY"] = "new"
    assert await secrets.resolve("env:KEY") == "new"


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    secrets = LocalSecrets({})
    assert await secrets.resolve(f"file:{path}") == "old"
    path.write_text("new")
    os.utime(path, ns=(1, 1))
    assert await secrets.resolve(f"file:{path}") == "new"


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    os.utime(path, ns=(1, 1))
    secrets = LocalSecrets({})
    assert await secrets.resolve(f"file:{path}") == "old"
    path.write_text("new")
    os.utime(path, ns=(1, 1))
    assert await secrets.resolve(f"file:{path}") == "old"


async def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    os.utime(path, ns=(1, 1))
    secrets = LocalSecrets({})
    await secrets.resolve(f"file:{path}")
    (tmp_path / "next").write_text("new")
    os.utime(tmp_path / "next", ns=(1, 1))
    (tmp_path / "next").replace(path)
    assert await secrets.resolve(f"file:{path}") == "new"


async def test_a_file_that_was_removed_gives_no_secret_any_more(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(CANARY)
    secrets = LocalSecrets({})
    await secrets.resolve(f"file:{path}")
    path.unlink()
    with pytest.raises(ConfigInvalid, match="No such file"):
        await secrets.resolve(f"file:{path}")


@pytest.mark.parametrize(
    "reference", ["", "env", "env:", "file:", "caller", "aws", "secretsmanager:x", CANARY, "ENV:KEY"]
)
async def test_a_reference_of_another_kind_is_refused(reference: str) -> None:
    with pytest.raises(ConfigInvalid, match="neither env:NAME nor file:PATH"):
        await LocalSecrets({"KEY": "x"}).resolve(reference)


@pytest.mark.parametrize("value", [None, "", "\n"])
async def test_an_empty_credential_is_none(value: str | None) -> None:
    with pytest.raises(ConfigInvalid, match=r"env:KEY: there is no credential here\Z"):
        await LocalSecrets({} if value is None else {"KEY": value}).resolve("env:KEY")


@pytest.mark.parametrize("value", ["one\ntwo", "one\x00", "gr\u00fcn"])
async def test_a_credential_that_no_header_can_carry_is_refused_here(value: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"env:KEY: the credential is not one line of plain text\Z"):
        await LocalSecrets({"KEY": value}).resolve("env:KEY")


async def test_a_json_document_may_stand_on_several_lines_as_its_vendor_wrote_it(tmp_path: Path) -> None:
    document = {"type": "service_account", "private_key": "-----BEGIN\nabc\n"}
    path = tmp_path / "key.json"
    for text in (
        json.dumps(document, indent=2) + "\n",
        json.dumps(document, indent="\t").replace("\n", "\r\n"),
    ):
        path.write_bytes(b"\n" + text.encode())
        secret = await LocalSecrets({}).resolve(f"file:{path}")
        assert (json.loads(secret), secret.isprintable()) == (document, True)


@pytest.mark.parametrize("content", [CANARY.encode() + b"\xff", CANARY.encode() * (MAX_SECRET_BYTES // 16)])
async def test_an_error_names_the_reference_and_never_the_value(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        await LocalSecrets({}).resolve(f"file:{path}")
    error: BaseException | None = caught.value
    assert f"file:{path}" in str(error)
    while error is not None:
        assert CANARY not in repr(error)
        error = error.__cause__
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_what_is_kept_of_a_file_does_not_show_its_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(CANARY)
    secrets = LocalSecrets({})
    await secrets.resolve(f"file:{path}")
    assert CANARY not in repr(vars(secrets))
