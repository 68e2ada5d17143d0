"""Which modules are installed where a function will run, and which have to travel with it.

Installed is what came with Python or lies where packages are installed; every node has its own. Anything else is
somebody's own file: it travels, whole when the module itself is referred to, with the own modules it imports. The
folders a package consists of travel too; files that are no modules do not.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from crowdgrid.protocol.captured import Source

_SUFFIX: Final = ".py"
# Also of another Python whose packages are used here.
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})


class NotSent(Exception):
    """A module can neither travel nor be found elsewhere; the message is the end of a sentence."""


@functools.cache
def _places() -> tuple[str, ...]:
    """Folders packages are installed in, and the standard library's."""
    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(os.path.realpath(path) + os.sep for path in found if path)


def is_installed(name: str) -> bool:
    """Whether other machines are expected to have this module of their own."""
    root = name.partition(".")[0]
    if root == "crowdgrid":  # in a work tree it is nobody's own either
        return True
    spec = spec_of(name)
    if spec is None:
        return False
    if spec.origin in {"built-in", "frozen"}:
        return True
    files = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(real.startswith(_places()) or not _PACKAGES.isdisjoint(Path(real).parts) for real in map(_real, files))


@functools.lru_cache(maxsize=4096)
def _real(file: str) -> str:
    return os.path.realpath(file)


def spec_of(name: str) -> ModuleSpec | None:
    """Where a module comes from, without importing anything."""
    module = sys.modules.get(name)
    if module is not None:
        spec = getattr(module, "__spec__", None)
        return spec if isinstance(spec, ModuleSpec) else None
    parent, _, _ = name.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(name)
        above = spec_of(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, above.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None


def with_own_imports(name: str) -> dict[str, Source]:
    """The source of an own module, of the packages it is in, and of all own modules they import.

    Raises:
        NotSent: one of them has no source.
    """
    found: dict[str, Source] = {}
    todo = [name]
    while todo:
        one = todo.pop()
        if one in found or not is_own(one):
            continue
        source = _source(one)
        found[one] = source
        package = one if source.package else one.rpartition(".")[0]
        todo += [one.rpartition(".")[0]] if "." in one else []
        todo += imported_by(ast.parse(source.text), package)
    return dict(sorted(found.items()))


def is_own(name: str) -> bool:
    """Whether a module is there and is somebody's own."""
    return name != "__main__" and spec_of(name) is not None and not is_installed(name)


def _source(name: str) -> Source:
    spec = spec_of(name)
    assert spec is not None
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise NotSent("has the name of a module that comes with Python; rename its file")
    package = spec.submodule_search_locations is not None
    path = name.replace(".", "/")
    if spec.origin is None:  # a folder without __init__.py
        return Source(f"{path}/__init__{_SUFFIX}", "", package=True)
    get_source = getattr(spec.loader, "get_source", None)
    try:
        text = get_source(name) if get_source is not None else None
    except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
        text = None
    if not isinstance(text, str):
        raise NotSent("is not installed and has no source")
    return Source(f"{path}/__init__{_SUFFIX}" if package else f"{path}{_SUFFIX}", text, package)


def imported_by(tree: ast.AST, package: str) -> Iterator[str]:
    """Names of modules that code in `package` may import; also some that are no modules but things in them."""
    for node in ast.walk(tree):
        yield from _imports(node, package)


def imported_for_sure(tree: ast.AST, package: str) -> Iterator[str]:
    """Names of modules a function imports whenever it is called: those it tries to import are not among them."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield from _imports(node, package)
        if not isinstance(node, ast.Try | ast.If):
            todo += ast.iter_child_nodes(node)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        name = node.module or ""
        if node.level:
            parts = package.split(".")
            above = ".".join(parts[: len(parts) - node.level + 1])
            name = f"{above}.{name}" if name else above
        yield name
        yield from (f"{name}.{alias.name}" for alias in node.names)


def loaded_submodules(package: ModuleType, names: set[str]) -> tuple[str, ...]:
    """Submodules of `package` that are imported here and that code using these attribute names may mean."""
    if not hasattr(package, "__path__"):
        return ()
    start = package.__name__ + "."
    return tuple(
        sorted(
            name
            for name in list(sys.modules)
            if name.startswith(start) and names.issuperset(name[len(start) :].split("."))
        )
    )
