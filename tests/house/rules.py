"""The rules that read one Python source and say what breaks them."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache

MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400

ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb"})
CLOCKS = frozenset(
    {f"time.{name}{suffix}" for name in ("time", "monotonic", "perf_counter") for suffix in ("", "_ns")}
    | {f"time.{name}" for name in ("process_time", "thread_time", "localtime", "gmtime")}
    | {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"datetime.date.today"}
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_files(source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{lines} lines"] if lines > MAX_FILE_LINES else []


def long_functions(source: str) -> list[str]:
    return [
        f"{node.name} has {lines} lines"
        for node in _functions(source)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def lazy_imports(source: str) -> list[str]:
    """Find imports inside functions, where they hide circles."""
    found = {
        inner.lineno: ast.unparse(inner)
        for node in _functions(source)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    return [f"line {line}: {statement}" for line, statement in sorted(found.items())]


def global_statements(source: str) -> list[str]:
    return [
        f"line {node.lineno}: {ast.unparse(node)}" for node in _nodes(source) if isinstance(node, ast.Global)
    ]


def swallowed_exceptions(source: str) -> list[str]:
    """Find handlers that catch everything and do not raise it again as their last step."""
    return [
        f"line {node.lineno}: catches {ast.unparse(node.type) if node.type else 'everything'}"
        for node in _nodes(source)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_again(node)
    ]


def environment_reads(source: str) -> list[str]:
    return _uses(source, ENVIRONMENT)


def clock_reads(source: str) -> list[str]:
    return _uses(source, CLOCKS)


@cache
def _nodes(source: str) -> tuple[ast.AST, ...]:
    """Read a source once for all rules: some hundred files are walked by a dozen tests."""
    return tuple(ast.walk(ast.parse(source)))


def _functions(source: str) -> list[Function]:
    return [node for node in _nodes(source) if isinstance(node, Function)]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"} for kind in caught)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _uses(source: str, names: frozenset[str]) -> list[str]:
    """Find uses of fully qualified names, whatever they were imported as."""
    nodes = _nodes(source)
    origins = dict(_imported_names(nodes))
    found = [
        (node.lineno, name)
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute) and (name := _qualified(node, origins)) in names
    ]
    return [f"line {line}: {name}" for line, name in sorted(found)]


def _imported_names(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _qualified(node: ast.expr, origins: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_qualified(node.value, origins)}.{node.attr}"
    return origins.get(node.id, "") if isinstance(node, ast.Name) else ""


def generated_values(source: str) -> list[str]:
    """Find frozen dataclasses that hide no field: structs do the same and cost a tenth at each import."""
    return [
        node.name
        for node in _nodes(source)
        if isinstance(node, ast.ClassDef)
        and any(
            "dataclass(frozen" in (told := ast.unparse(each)) and "repr=" not in told
            for each in node.decorator_list
        )
        and not any(hidden in ast.unparse(node) for hidden in ("repr=False", "init=False"))
    ]
