"""Reading a pickle runs what is in it, so the places that may are few and named here."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.tree import SOURCE, files, name, parsed

PICKLERS = {"pickle", "_pickle", "cPickle", "pickletools", "cloudpickle", "dill", "marshal", "shelve", "joblib"}

# Who may import the standard library's or cloudpickle's pickler.
THE_DOOR = {"src/crowdgrid/protocol/pickles.py"}

# Who writes pickles: of the user's own functions and arguments, when the user's grid is the user's own.
MAY_WRITE = {"src/crowdgrid/client/calling.py", "src/crowdgrid/client/capture/pickled.py"}

# Who reads pickles, and what stands before it.
MAY_READ = {
    "src/crowdgrid/client/codec.py",  # the signature of a node the user trusts (`client/trust.py`)
    "src/crowdgrid/client/raising.py",  # the same: it reads when `codec.py` says so
    "src/crowdgrid/runtimes/apply.py",  # a worker of runtime "python-pickle": submitter and owner are one
    "src/crowdgrid/runtimes/rebuild/unpickling.py",  # the same
}


def _imported(path: Path) -> set[str]:
    """Dotted names of all a file imports anywhere in it, modules and what is taken from them."""
    found: set[str] = set()
    package = name(path).removeprefix("src/").removesuffix(".py").replace("/", ".").rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], module]).strip(".")
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def _who_imports(wanted: set[str]) -> set[str]:
    return {
        name(path)
        for path in files(SOURCE, ".py")
        if any(one == module or one.startswith(f"{module}.") for one in _imported(path) for module in wanted)
    }


def test_one_module_pickles() -> None:
    """`protocol.pickles` is the only door, so that who goes through it can be listed."""
    assert _who_imports(PICKLERS - {"joblib"}) == THE_DOOR


def test_who_may_read_pickles_is_named_here() -> None:
    """A new name on the list needs a reason why nothing a stranger wrote can come there."""
    assert _who_imports({"crowdgrid.protocol.pickles"}) == MAY_WRITE | MAY_READ
    reads = {path for path in MAY_WRITE | MAY_READ if "loads" in _words(SOURCE.parents[1] / path)}
    assert reads == MAY_READ


def _words(path: Path) -> set[str]:
    """Every name, attribute and imported name in a file."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
    return found


def test_only_workers_load_functions() -> None:
    """Making a function runs code of whoever sent it: nothing but a worker's own module imports what does."""
    loaders = {
        "crowdgrid.runtimes.functions",
        "crowdgrid.runtimes.rebuild.unpickling",
        "crowdgrid.runtimes.rebuild.making",
    }
    who = _who_imports(loaders)
    assert {path for path in who if not path.startswith("src/crowdgrid/runtimes/")} == set()
    assert "src/crowdgrid/runtimes/python.py" not in who, "the pool's side runs in the agent"


def test_nothing_is_evaluated_outside_of_workers() -> None:
    """`eval`, `exec` and `compile` of text that came from elsewhere."""
    found = {
        name(path)
        for path in files(SOURCE, ".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec", "compile"}
    }
    assert found == {
        "src/crowdgrid/runtimes/rebuild/compiling.py",  # also used by the client, on the user's own source; runs nothing
        "src/crowdgrid/runtimes/rebuild/making.py",
        "src/crowdgrid/runtimes/rebuild/stage.py",
    }
