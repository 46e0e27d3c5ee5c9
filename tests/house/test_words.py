"""What no file of the project may say, and what no module may be called."""

import re
from pathlib import Path

from tests.house.tree import PACKAGE, PRODUCT, ROOT, project_files, python_files, violations

# Package indexes differ from machine to machine, so a lock or script that names one works on one only.
REGISTRY_HOST = re.compile(
    r"(?:\bpypi|\bpythonhosted|\bnpmjs|\byarnpkg|\bcrates|\bproxy\.golang|\bdeb\.debian)\.(?:org|com|io)\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.$}~/:@-])/(?:work|farm|root|tmp)(?:/[\w.-]+|(?![\w/.-]))")
FOREIGN_WORD = re.compile(r"virtual\s+keys?|VirtualKey", re.IGNORECASE)
MEANINGLESS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"})


def registry_hosts(text: str) -> list[str]:
    return _lines_with(REGISTRY_HOST, text)


def machine_paths(text: str) -> list[str]:
    return _lines_with(MACHINE_PATH, text)


def foreign_words(text: str) -> list[str]:
    return _lines_with(FOREIGN_WORD, text)


def meaningless_names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths if MEANINGLESS & {*path.parts[:-1], path.stem.strip("_")}]


def _lines_with(pattern: re.Pattern[str], text: str) -> list[str]:
    return [
        f"line {number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert violations(registry_hosts, project_files()) == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert violations(machine_paths, project_files()) == []


def test_a_callers_key_is_a_gateway_key_and_a_providers_is_a_credential() -> None:
    assert violations(foreign_words, python_files(PACKAGE)) == []


def test_every_module_is_named_for_what_it_knows() -> None:
    assert meaningless_names([path.relative_to(ROOT) for path in python_files(*PRODUCT)]) == []


def test_a_registry_host_is_found() -> None:
    host = ".".join(("npmjs", "org"))
    address = f"https://registry.{host}/a/-/a-1.0.0.tgz"
    text = f'"version": "1.0.0",\n"resolved": "{address}",\n'
    assert registry_hosts(text) == [f"line 2: {host}"]


def test_a_machine_path_is_found_and_a_route_or_relative_path_is_not() -> None:
    rooms = ("work", "root", "tmp")
    text = (
        "\n".join(f"data = '/{room}/data'" for room in rooms)
        + "\n$HOME/tmp build/tmp/x /tmpfs /worker x.org/work\n"
    )
    assert machine_paths(text) == [
        f"line {number}: /{room}/data" for number, room in enumerate(rooms, start=1)
    ]


def test_the_foreign_word_is_found_and_the_header_of_that_name_is_not() -> None:
    assert foreign_words("x-portkey-virtual-key\nA Virtual Key is\n") == ["line 2: Virtual Key"]


def test_a_module_without_a_meaning_is_found() -> None:
    paths = [Path("farebox/domain/money.py"), Path("farebox/_utils.py"), Path("farebox/common/text.py")]
    assert meaningless_names(paths) == ["farebox/_utils.py", "farebox/common/text.py"]
