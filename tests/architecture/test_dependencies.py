"""Each dependency is named with its reason, pinned by hash, and free to pass on."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from itertools import chain

from tests.architecture.tree import ROOT, SOURCE, files, imports, name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

# Permissive, or copyleft of single files (MPL) in packages used unmodified.
FREE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LLVM-exception", "MIT", "MIT-0", "MIT-CMU",
    "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip

# What older packages write where an SPDX expression belongs.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def _plain(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower()


EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED = [*PROJECT["project"]["dependencies"], *chain(*EXTRAS.values()), *PROJECT["dependency-groups"]["dev"]]
DIRECT = {_plain(item) for item in ASKED}
LOCKED = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", LOCK, re.MULTILINE))


def _licence(name: str) -> str:
    """SPDX expression of an installed package, from the best of the places it may stand in."""
    told = importlib.metadata.metadata(name)
    if "License-Expression" in told:
        return told["License-Expression"]
    lines = told.get_all("License") or []
    lines += [line.split(" :: ")[-1] for line in told.get_all("Classifier") or () if line.startswith("License")]
    return next((SPDX.get(line, line) for line in lines if line in SPDX or _allowed(line)), "unknown")


def _allowed(expression: str) -> bool:
    """Whether at least one side of each OR is free; parts of AND and WITH all have to be."""
    sides = [re.split(r"\s+(?:AND|WITH)\s+", side) for side in re.split(r"\s+OR\s+", expression.strip("()"))]
    return any(all(part.strip("() ") in FREE for part in side) for side in sides)


def test_every_dependency_has_a_reason_and_a_licence() -> None:
    """docs/dependencies.md names exactly what pyproject.toml asks for, with the licence it really has."""
    rows = re.findall(
        r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE
    )
    assert {name for name, _, _ in rows} == DIRECT
    assert [name for name, reason, _ in rows if len(reason.split()) < 4] == []
    assert {name: licence.strip() for name, _, licence in rows} == {name: _licence(name) for name, _, _ in rows}


def test_every_locked_package_is_free_to_pass_on() -> None:
    """No licence of what is installed may bind those who use crowdgrid; a new one has to be looked at here."""
    installed = {dist.metadata["Name"].lower().replace("_", "-") for dist in importlib.metadata.distributions()}
    here = sorted(name for name in LOCKED if name.replace("_", "-") in installed)
    assert DIRECT - {*here} == set()
    assert {name: _licence(name) for name in here if not _allowed(_licence(name))} == {}


def test_every_locked_package_is_pinned_by_hash() -> None:
    """A file that is not the one that was looked at is refused, wherever it comes from."""
    blocks = re.split(r"\n(?=[a-z0-9])", LOCK[LOCK.index("\nalembic==") + 1 :])
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert DIRECT - set(LOCKED) == set()


def test_what_is_imported_is_asked_for() -> None:
    """Tests run where everything is installed; people have what the package asks for, and no more for certain."""
    perhaps = {"IPython", "dask", "joblib", "numpy"}  # who uses them has them; else a sentence says what is missing
    perhaps |= {"_typeshed"}  # for type checkers only
    left_out = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"])
    asked = {_plain(item) for item in [*PROJECT["project"]["dependencies"], *chain(*EXTRAS.values())]}
    provided = {
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if asked & {each.lower().replace("_", "-") for each in names}
    }
    found = [
        f"{name(path)} imports {module}"
        for path in files(SOURCE, ".py")
        if not name(path).startswith(left_out)
        for module in {each.partition(".")[0] for each in imports(path)}
        if module not in {*sys.stdlib_module_names, *provided, *perhaps, "crowdgrid"}
    ]
    assert found == []


def test_the_lock_is_what_pyproject_asks_for() -> None:
    """Somebody who changes pyproject.toml runs `make lock`."""
    from packaging.requirements import Requirement

    asked = [Requirement(item) for item in ASKED]
    assert [str(item) for item in asked if not item.specifier.contains(LOCKED[item.name.lower()])] == []
