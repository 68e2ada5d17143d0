"""The shape of the code: a pure engine, domain words for folders, small files and functions."""

from __future__ import annotations

import ast

from tests.architecture.tree import ROOT, SOURCE, files, imports, name, parsed

LINES_MAX = 600
TEST_LINES_MAX = 800  # a contract's cases belong together
FUNCTION_LINES_MAX = 80
README_LINES_MAX = 40

# Clocks, chance, waiting, logging and the outside world: the engine gets them as values in commands.
IMPURE = {
    "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "uuid",
}  # fmt: skip

MOVING_PARTS = ("agent", "blobs", "cli", "client", "core", "hub", "protocol", "runtimes", "simulation", "store")

CODE = [
    path
    for place in ("src", "tests", "benchmarks", "experiments", "kernels", "examples")
    for path in files(ROOT / place, ".py")
]


def test_the_engine_imports_nothing_that_acts_or_changes_by_itself() -> None:
    """Protects replay: the same commands must always give the same effects, in the hub and in a simulator."""
    found = [
        f"{name(path)} imports {module}"
        for path in files(SOURCE / "core", ".py")
        for module in imports(path)
        if module.split(".")[0] in IMPURE
    ]
    assert found == []


def test_the_engine_uses_no_hash_no_id_and_no_open() -> None:
    """`hash()` of text and `id()` differ between runs; `open()` and `print()` act."""
    forbidden = {"hash", "id", "open", "print", "input", "eval", "exec", "vars", "globals"}
    found = [
        f"{name(path)}:{node.lineno} calls {node.func.id}()"
        for path in files(SOURCE / "core", ".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden
    ]
    assert found == []


def test_folders_and_modules_have_domain_names() -> None:
    """A folder called `utils` has no subject, so everything ends up in it."""
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "lib", "shared"}
    found = [name(path) for path in CODE if vague & {part.removesuffix(".py") for part in path.parts[-4:]}]
    assert found == []


def test_files_stay_small() -> None:
    """One idea a module: a file that outgrows a few screens holds several."""
    long = {name(path): len(path.read_text().splitlines()) for path in CODE}
    limit = {path: TEST_LINES_MAX if path.startswith("tests/") else LINES_MAX for path in long}
    assert {path: lines for path, lines in long.items() if lines > limit[path]} == {}


def test_functions_stay_small() -> None:
    """A function longer than a screen cannot be read in one look."""
    long = [
        f"{name(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in CODE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_says_what_it_is() -> None:
    """A module's docstring is where a newcomer starts."""
    silent = [name(path) for path in files(SOURCE, ".py") if not ast.get_docstring(parsed(path))]
    assert silent == []


def test_every_package_with_moving_parts_has_a_short_readme() -> None:
    """A README a package, short enough to be read and kept true."""
    missing = [part for part in MOVING_PARTS if not (SOURCE / part / "README.md").is_file()]
    assert missing == []
    lines = {name(path): len(path.read_text().splitlines()) for path in files(SOURCE, "README.md")}
    assert {path: count for path, count in lines.items() if count > README_LINES_MAX} == {}
