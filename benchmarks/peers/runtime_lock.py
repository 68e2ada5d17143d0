"""The part of `requirements.lock` that crowdgrid needs to run, with hashes: `python -m benchmarks.peers.runtime_lock`.

What somebody gets who installs the package, without what only development uses: `pyproject.toml`'s dependencies and, as
the installed packages tell it, theirs.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.processes import ROOT


def needed(roots: Iterable[str], requires: Callable[[str], Iterable[str]]) -> set[str]:
    """Names of all packages that `roots` (requirements) need here, themselves included.

    Args:
        requires: the requirements a package states; asked once for each name.
    """
    found: set[str] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in found or not _applies(requirement):
            continue
        found.add(name)
        todo += [_with_extras(Requirement(line), requirement.extras) for line in requires(name)]
    return found


def _with_extras(inner: Requirement, extras: set[str]) -> Requirement:
    """`inner`, its marker decided where it asks for an extra that was asked for."""
    if inner.marker is not None and any(inner.marker.evaluate({"extra": extra}) for extra in extras):
        inner.marker = None
    return inner


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def blocks(lock: str) -> dict[str, str]:
    """A lock's packages: name to its lines (version, hashes, comments)."""
    parts = re.split(r"\n(?=[a-z0-9])", "\n" + lock)[1:]
    return {canonicalize_name(re.split(r"[=\[]", part)[0]): part.rstrip() for part in parts}


def _installed(name: str) -> Iterable[str]:
    return importlib.metadata.requires(name) or ()


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = needed(project["dependencies"], _installed)
    locked = blocks((ROOT / "requirements.lock").read_text())
    if missing := sorted(names - set(locked)):
        print(f"requirements.lock has no {', '.join(missing)}: run make lock.", file=sys.stderr)
        return 1
    print("\n".join(locked[name] for name in sorted(names)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
