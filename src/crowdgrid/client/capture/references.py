"""Finds the name under which something can be imported elsewhere: `module:qualname` of installed code.

A name is only taken if it leads to this very object here.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Container, Iterator
from types import BuiltinFunctionType, MethodType
from typing import Any

from crowdgrid.client.capture.modules import is_installed


def reference(value: Any, whole: Container[str]) -> tuple[str, str] | None:
    """(module, qualname) of `value`; None when it has none.

    Args:
        whole: modules that travel whole, so that names in them are good too.
    """
    for module, qualname in _names(value):
        if (module in whole or is_installed(module)) and leads_to(module, qualname, value):
            return module, qualname
    is_own = isinstance(value, types.FunctionType | type) and not is_installed(str(value.__module__))
    return None if is_own else _found_anywhere(value)


def is_found_elsewhere(value: Any) -> bool:
    """Whether it is an installed module, or has a name in one."""
    if isinstance(value, types.ModuleType):
        return is_installed(value.__name__)
    return reference(value, ()) is not None


def _found_anywhere(value: Any) -> tuple[str, str] | None:
    """A name in `types`, which calls some things other than they do; or in any module that is imported here."""
    shown = next((name for name, known in vars(types).items() if known is value), None)
    if shown is not None:
        return "types", shown
    name = getattr(value, "__name__", None)
    if not isinstance(name, str):
        return None
    found = [module for module, loaded in list(sys.modules.items()) if _holds(loaded, name, value)]
    return next(((module, name) for module in sorted(found, key=len) if is_installed(module)), None)


def _holds(module: Any, name: str, value: Any) -> bool:
    return isinstance(module, types.ModuleType) and vars(module).get(name) is value


def leads_to(module: str, qualname: str, value: Any) -> bool:
    """Whether this name is `value` here."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except Exception:  # noqa: BLE001 - a module's or class's own __getattr__
            return False
    if found is value or (getattr(found, "_crowdgrid_function", False) is True and found.__wrapped__ is value):
        return True
    return isinstance(value, MethodType | BuiltinFunctionType) and type(found) is type(value) and found == value


def _names(value: Any) -> Iterator[tuple[str, str]]:
    """Names worth trying, public ones first: where a thing says it is from may be private and differ elsewhere."""
    texts = [getattr(value, name, None) for name in ("__qualname__", "__name__", "_name")]
    names = list(dict.fromkeys(text for text in texts if isinstance(text, str) and text and "<" not in text))
    modules = [getattr(value, "__module__", None)]
    owner = getattr(value, "__self__", getattr(value, "__objclass__", None))
    modules += [owner.__name__ if isinstance(owner, type(sys)) else getattr(owner, "__module__", None)]
    modules += [type(value).__module__]
    for module in dict.fromkeys(name for name in modules if isinstance(name, str) and name in sys.modules):
        for public in dict.fromkeys((*_public(module), module)):
            yield from ((public, name) for name in names)


def _public(module: str) -> Iterator[str]:
    """Modules that may show what a private one holds: `operator` for `_operator`, `pathlib` for `pathlib._local`."""
    if module.startswith("_") and module.lstrip("_") in sys.modules:
        yield module.lstrip("_")
    parts = module.split(".")
    for count in range(1, len(parts)):
        if parts[count].startswith("_"):
            yield ".".join(parts[:count])
            break
