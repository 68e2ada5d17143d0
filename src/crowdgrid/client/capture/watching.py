"""Whether what was captured is still what there is: then a function need not be captured again.

Globals, cells, defaults and attributes are compared by identity; what can change in place is written again and
compared with what was written. So this costs little for most functions, and a look at all of it for one that captures
a large list or array: such data is better passed as an argument.
"""

from __future__ import annotations

from operator import is_
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.values import LEAVES, pack_value

_MISSING: Final = object()
_FIXED: Final = LEAVES | {complex, range, slice, type(...)}


class Watch:
    """What was seen when a function was captured."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}  # globals and what was found in them
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, tuple[Any, ...]]] = []
        self._values: list[tuple[Any, bytes]] = []
        self._containers: list[tuple[Any, list[Any]]] = []
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._modules: list[tuple[ModuleType, Any]] = []

    def name(self, namespace: dict[str, Any], name: str) -> None:
        """A global was looked up."""
        _, seen = self._names.setdefault(id(namespace), (namespace, {}))
        seen[name] = namespace.get(name, _MISSING)

    def cell(self, cell: CellType, content: Any) -> None:
        """A cell was looked into."""
        self._cells.append((cell, content))

    def function(self, fn: FunctionType) -> None:
        """A function was captured by its source."""
        self._functions.append((fn, _parts(fn)))

    def value(self, value: Any, data: bytes) -> None:
        """A value was packed."""
        if type(value) not in _FIXED:
            self._values.append((value, data))

    def container(self, value: Any) -> None:
        """A container was taken apart."""
        self._containers.append((value, _elements(value)))

    def class_(self, cls: type) -> None:
        """A class was captured by its source."""
        self._classes.append((cls, dict(vars(cls))))

    def module(self, module: ModuleType) -> None:
        """A module was captured whole; it gets another spec when it is loaded again."""
        self._modules.append((module, module.__spec__))

    def unchanged(self) -> bool:
        """Whether all that was seen is as it was. Called once a call that is sent, so it is kept short."""
        for namespace, seen in self._names.values():
            for name, was in seen.items():
                if namespace.get(name, _MISSING) is not was:
                    return False
        for fn, parts in self._functions:
            if not all(map(is_, _parts(fn), parts)):
                return False
        for cell, content in self._cells:
            if _content(cell) is not content:
                return False
        return not (self._classes or self._modules or self._containers or self._values) or (
            all(_same_attributes(cls, was) for cls, was in self._classes)
            and all(module.__spec__ is was for module, was in self._modules)
            and all(_same_elements(value, was) for value, was in self._containers)
            and all(_same_value(value, was) for value, was in self._values)
        )


def _parts(fn: FunctionType) -> tuple[Any, ...]:
    return fn.__code__, fn.__defaults__, fn.__kwdefaults__


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _elements(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else list(value)


def _same_elements(value: Any, was: list[Any]) -> bool:
    now = _elements(value)
    return len(now) == len(was) and all(map(is_, now, was))


def _same_attributes(cls: type, was: dict[str, Any]) -> bool:
    now = vars(cls)
    return len(now) == len(was) and all(now.get(name, _MISSING) is value for name, value in was.items())


def _same_value(value: Any, was: bytes) -> bool:
    try:
        return pack_value(value) == was
    except CannotTravel:
        return False
