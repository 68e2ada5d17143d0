"""What an initializer set in the globals of a script, for the functions of that script that come later.

What is defined in a script or a notebook is pickled with globals of its own, each time, so that an initializer and a
function that were one module there are two here. An initializer exists to set globals: they are noted by the name of
their module and put into the globals of every function of that name in the same environment.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

_set: dict[str, dict[str, Any]] = {}  # by module


def run(first: Callable[[], object]) -> None:
    """Call an initializer and note what it set. Raises what it raises."""
    names = _own_globals(first)
    before = dict(names)
    first()
    changed = {name: now for name, now in names.items() if name not in before or before[name] is not now}
    if changed:
        _set[str(names.get("__name__"))] = changed


def share(fn: Callable[..., Any]) -> None:
    """Let a function see what its environment's initializer set."""
    if _set:
        names = _own_globals(fn)
        names.update(_set.get(str(names.get("__name__")), {}))


def forget() -> None:
    """Another environment begins."""
    _set.clear()


def _own_globals(fn: Any) -> dict[str, Any]:
    """The globals a function was pickled with; an empty dictionary where they are a module's, or it has none."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    fn = inspect.unwrap(fn)
    if not isinstance(fn, FunctionType | MethodType):
        fn = inspect.getattr_static(type(fn), "__call__", None)
    names = getattr(fn, "__globals__", None)
    if not isinstance(names, dict) or names is getattr(sys.modules.get(str(names.get("__name__"))), "__dict__", None):
        return {}
    return names
