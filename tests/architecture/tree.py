"""The files of the repository, as the architecture tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "crowdgrid"

# What make, the tools and a clone put here; none of it is committed.
_NOT_OURS = {
    ".git", ".venv", ".venv-other", ".venv-peers", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ".import_linter_cache", "__pycache__", "build", "dist", "node_modules", "site",
}  # fmt: skip


def files(under: Path = ROOT, suffix: str = "") -> Iterator[Path]:
    """Every committed file below `under` whose name ends with `suffix`, in order."""
    for path in sorted(under.iterdir()):
        if path.name in _NOT_OURS or path.name.startswith(".coverage"):
            continue
        if path.is_dir():
            yield from files(path, suffix)
        elif path.name.endswith(suffix):
            yield path


def name(path: Path) -> str:
    """A file's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    """A Python file's syntax tree."""
    return ast.parse(path.read_text(), filename=name(path))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports anywhere in it, dotted."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
