"""Modules hide no imports, state or errors, and read the environment and the clock in one place each."""

from tests.house import rules
from tests.house.tree import PACKAGE, PRODUCT, python_files, violations

BROAD_HANDLERS_ALLOWED = (
    PACKAGE / "http/errors.py",
    PACKAGE / "http/data_plane.py",
    PACKAGE / "adapters/local/event_bus.py",  # a listener's failure stays with it
    *python_files(PACKAGE / "jobs"),
)


def test_no_import_hides_in_a_function_except_in_the_command_line() -> None:
    allowed = [PACKAGE / "cli/main.py"]
    assert violations(rules.lazy_imports, python_files(*PRODUCT), allowed=allowed) == []


def test_only_the_settings_read_the_environment() -> None:
    allowed = [PACKAGE / "compose/settings.py"]
    assert violations(rules.environment_reads, python_files(*PRODUCT), allowed=allowed) == []


def test_only_the_clock_adapter_reads_the_clock() -> None:
    allowed = [PACKAGE / "adapters/clock.py"]
    assert violations(rules.clock_reads, python_files(*PRODUCT), allowed=allowed) == []


def test_no_function_rebinds_a_module_level_name() -> None:
    assert violations(rules.global_statements, python_files(*PRODUCT)) == []


def test_only_the_outermost_handlers_catch_everything() -> None:
    allowed = BROAD_HANDLERS_ALLOWED
    assert violations(rules.swallowed_exceptions, python_files(*PRODUCT), allowed=allowed) == []


def test_values_on_the_way_of_a_request_are_made_without_compiling() -> None:
    allowed = [
        PACKAGE / "domain/errors.py",  # exceptions cannot be structs
        PACKAGE / "compose/settings.py",
        PACKAGE / "adapters/aws/tables.py",
        *python_files(PACKAGE / "cli"),
    ]
    assert violations(rules.generated_values, python_files(PACKAGE), allowed=allowed) == []


def test_a_frozen_dataclass_that_hides_nothing_is_found() -> None:
    source = """
@dataclass(frozen=True, slots=True)
class Plain:
    a: int

@dataclass(frozen=True, slots=True)
class Hiding:
    secret: str = field(repr=False)

@dataclass(eq=False)
class Service:
    plain: Plain

class Value(Struct, frozen=True):
    a: int
"""
    assert rules.generated_values(source) == ["Plain"]


def test_an_import_in_a_method_is_found_once() -> None:
    source = """
import os

class Thing:
    async def act(self):
        def inner():
            from json import loads as parse
"""
    assert rules.lazy_imports(source) == ["line 7: from json import loads as parse"]


def test_a_read_of_the_environment_is_found_under_any_name() -> None:
    source = """
import os as machine
import os.path
from os import environ as settings, getenv

home = machine.environ["HOME"]
user = settings.get("USER")
shell = getenv("SHELL")
here = os.path.join("a", "b")
"""
    assert rules.environment_reads(source) == [
        "line 6: os.environ",
        "line 7: os.environ",
        "line 8: os.getenv",
    ]


def test_a_read_of_the_clock_is_found_under_any_name() -> None:
    source = """
import datetime
import time
from datetime import datetime as moment, timedelta
from time import monotonic_ns as ticks

async def measure(loop, clock):
    a = datetime.datetime.now(datetime.UTC)
    b = moment.utcnow()
    c = ticks() - time.perf_counter()
    d = loop.time(), clock.now(), moment(2026, 1, 1), timedelta(days=1), time.sleep
"""
    assert rules.clock_reads(source) == [
        "line 8: datetime.datetime.now",
        "line 9: datetime.datetime.utcnow",
        "line 10: time.monotonic_ns",
        "line 10: time.perf_counter",
    ]


def test_a_global_statement_is_found() -> None:
    assert rules.global_statements("count = 0\ndef add():\n    global count\n    count += 1\n") == [
        "line 3: global count"
    ]


def test_a_swallowed_exception_is_found_and_one_raised_again_is_not() -> None:
    source = """
try:
    act()
except (KeyError, Exception):
    pass
try:
    act()
except BaseException:
    undo()
    raise
try:
    act()
except:
    raise Wrapped() from None
try:
    act()
except KeyError:
    pass
"""
    assert rules.swallowed_exceptions(source) == [
        "line 4: catches (KeyError, Exception)",
        "line 13: catches everything",
    ]
