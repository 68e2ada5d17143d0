"""joblib and Dask may be missing: their names are there all the same, and calling them says what to install."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import crowdgrid
from crowdgrid.errors import BadInput, CrowdgridError

CALLS: dict[str, Callable[[], Any]] = {
    "joblib": lambda: crowdgrid.register_joblib(),
    "dask": lambda: crowdgrid.dask_get({}, []),
}


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if these, and what was imported from them, had never been there."""
    for adapter in ("joblibbackend", "daskgraph"):
        monkeypatch.delitem(sys.modules, f"crowdgrid.client.{adapter}", raising=False)
        monkeypatch.delattr(importlib.import_module("crowdgrid.client"), adapter, raising=False)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("library", CALLS)
def test_a_library_that_is_missing_is_named_with_how_to_get_it(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, library)
    with pytest.raises(CrowdgridError, match=f"^{library} is not installed") as caught:
        CALLS[library]()
    assert f"pip install {library}" in caught.value.hint


def test_a_library_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "dask._task_spec")
    with pytest.raises(BadInput, match=r"dask is too old: it has no dask\._task_spec"):
        CALLS["dask"]()


def test_a_library_that_lacks_something_itself_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is not for us to explain."""
    without(monkeypatch, "crowdgrid.client.calling")
    with pytest.raises(ModuleNotFoundError, match="calling"):
        CALLS["joblib"]()


def test_every_name_is_there_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion in a notebook and `from crowdgrid import *` look at every name."""
    without(monkeypatch, *CALLS)
    assert [name for name in crowdgrid.__all__ if not hasattr(crowdgrid, name)] == []
