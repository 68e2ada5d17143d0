"""Collects a function and everything it refers to as the nodes of a `captured.Document`.

Each thing becomes one node, however often it is met, so that what was shared stays shared. Functions and classes are
entered at once and looked into later, one after another, so neither recursion nor a long chain of calls is a depth.
"""

from __future__ import annotations

import enum
import sys
from collections import deque
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.client.capture import constants, modules
from crowdgrid.client.capture.references import leads_to, reference
from crowdgrid.client.capture.refusing import Place, refuse, too_large
from crowdgrid.client.capture.watching import Watch
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol import captured as c
from crowdgrid.protocol.forms import NotPlain
from crowdgrid.protocol.values import pack_value

_CONTAINERS: Final[dict[type, str]] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}


class StartAgain(Exception):
    """A module travels whole of which parts were collected already: they have to come from it."""


class Graph:
    """The nodes of one function.

    Args:
        root: the function's name, for people.
        whole: modules that travel whole, kept from one attempt to the next; more are added.

    Attributes:
        nodes: one for each thing; None for one that is not looked into yet.
        todo: what is to be looked into: (index, function or class, place).
        homes: by key, modules of which parts travel. requires: installed modules imported when it runs.
        exceptions: classes of exceptions met. watch: what was seen, to know when it has changed.
    """

    def __init__(self, root: str, whole: dict[str, c.Source]) -> None:
        self.root = root
        self.whole = whole
        self.nodes: list[c.Node | None] = []
        self.todo: deque[tuple[int, Any, Place]] = deque()
        self.texts: list[c.Text] = []
        self.homes: dict[str, c.Home] = {}
        self.requires: set[str] = set()
        self.exceptions: dict[type[BaseException], None] = {}
        self.watch = Watch()
        self._known: dict[int, int] = {}  # by id
        self._kept: list[Any] = []  # so that an id stays one thing's
        self._making: set[int] = set()
        self._files: dict[str, str] = {}
        self._text_index: dict[c.Text, int] = {}
        self._keys: dict[int, str] = {}  # of homes, by the id of their globals

    # --- one thing -------------------------------------------------------------------------------

    def add(self, value: Any, place: Place) -> int:
        """The index of `value`'s node. Raises CannotTravel."""
        if getattr(type(value), "_crowdgrid_function", False) is True:
            value = value.__wrapped__
        if id(value) in self._known:
            return self._known[id(value)]
        if id(value) in self._making:
            raise refuse(value, place, "It refers to itself in a way that cannot be made again.")
        self._making.add(id(value))
        try:
            index = self._new(value, place)
        finally:
            self._making.discard(id(value))
        return self._know(value, index)

    def _know(self, value: Any, index: int) -> int:
        if id(value) not in self._known:
            self._known[id(value)] = index
            self._kept.append(value)
        return index

    def _enter(self, node: c.Node | None) -> int:
        self.nodes.append(node)
        if len(self.nodes) > limits.FUNCTION_NODES:
            raise CannotTravel(
                f"{self.root} refers to more than {limits.FUNCTION_NODES:,} things.",
                hint="Pass what is large as an argument.",
            )
        return len(self.nodes) - 1

    def _new(self, value: Any, place: Place) -> int:
        if isinstance(value, ModuleType):
            return self._module(value, place)
        if isinstance(value, FunctionType | type):
            return self._definition(value, place)
        if isinstance(value, MethodType | BuiltinFunctionType):
            return self._method(value, place)
        if isinstance(value, enum.Enum) and value.name in type(value).__members__:
            return self._enter(c.Attribute(self.add(type(value), place), value.name))
        if type(value) in _CONTAINERS or type(value) is dict:
            return self._container(value, place)
        if type(value) is object:
            return self._enter(c.Sentinel())
        made = constants.made_by_a_call(value)
        if made is not None:
            return self._made(made, place)
        return self._plain_or_named(value, place)

    def _plain_or_named(self, value: Any, place: Place) -> int:
        try:
            data = self._packed(value, place)
        except NotPlain:
            found = reference(value, self.whole)
            if found is None:
                raise refuse(value, place) from None
            return self._enter(c.Name(*found))
        self.watch.value(value, data)
        return self._enter(c.Value(data))

    def _packed(self, value: Any, place: Place) -> bytes:
        """`value` as a plain value. Raises NotPlain, and CannotTravel when it is too large."""
        try:
            data = pack_value(value)
        except CannotTravel:
            raise NotPlain(value) from None
        if len(data) > limits.CAPTURE_BYTES:
            raise too_large(place, len(data), limits.CAPTURE_BYTES)
        return data

    # --- functions and classes -------------------------------------------------------------------

    def _definition(self, value: Any, place: Place) -> int:
        if isinstance(value, type):
            if issubclass(value, BaseException):
                self.exceptions[value] = None
            generic = constants.made_by_a_call(value)  # list[int] is a type by its own account
            if generic is not None:
                return self._made(generic, place)
        found = reference(value, self.whole)
        if found is not None:
            return self._enter(c.Name(*found))
        owner = self._owner_of(value)
        if owner is not None:
            return self._enter(c.Attribute(self.add(owner, place), value.__name__))
        index = self._enter(None)
        self.todo.append((index, value, place))
        return self._know(value, index)

    def _owner_of(self, value: Any) -> type | None:
        """The class of a module's top level in whose body a function or class was defined, if it is still there."""
        parts = value.__qualname__.split(".")
        module = value.__module__
        if len(parts) < 2 or "<locals>" in parts or not isinstance(module, str):
            return None
        if not leads_to(module, value.__qualname__, value):
            return None
        owner: Any = sys.modules[module]
        for part in parts[:-1]:
            owner = getattr(owner, part)
        return owner if isinstance(owner, type) and parts[-1] == value.__name__ else None

    def _method(self, value: Any, place: Place) -> int:
        found = reference(value, self.whole)
        if found is not None:
            return self._enter(c.Name(*found))
        owner = value.__self__
        if isinstance(value, MethodType) and not isinstance(owner, type):
            raise refuse(value, place)
        if isinstance(owner, ModuleType) or owner is None:
            raise refuse(value, place)
        return self._enter(c.Attribute(self.add(owner, place), value.__name__))

    # --- modules ---------------------------------------------------------------------------------

    def _module(self, module: ModuleType, place: Place, names: set[str] | None = None) -> int:
        name = module.__name__
        hint = "Refer to the functions and classes in it instead, or install it where the function runs."
        if sys.modules.get(name) is not module or name == "__main__":
            raise refuse(module, place, hint)
        if not modules.is_installed(name):
            self._send_whole(name, place)
        also = modules.loaded_submodules(module, names or set())
        for submodule in also:
            if submodule not in self.whole and not modules.is_installed(submodule):
                self._send_whole(submodule, place)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseException):
                self.exceptions[value] = None
        return self._enter(c.Module(name, also))

    def named(self, value: Any, place: Place, attributes: set[str]) -> int:
        """As `add`, for what code has a name for, and for which it may use these attributes: those of a package
        may be its submodules."""
        if not isinstance(value, ModuleType) or not modules.loaded_submodules(value, attributes):
            return self.add(value, place)
        return self._module(value, place, attributes)

    def import_when_called(self, name: str, place: Place) -> None:
        """A function imports this when it runs."""
        if modules.is_own(name):
            self._send_whole(name, place)

    def require(self, name: str) -> None:
        """A function imports this installed module whenever it runs."""
        root = name.partition(".")[0]
        if not modules.is_own(root) and modules.spec_of(root) is not None:
            self.requires.add(root)

    def _send_whole(self, name: str, place: Place) -> None:
        if name in self.whole:
            return
        try:
            sources = modules.with_own_imports(name)
        except modules.NotSent as error:
            hint = "Install it where the function runs, or import what is needed inside the function."
            message = f"{place.root} refers to the module {name}, which {error}."
            raise CannotTravel(message, hint=hint) from None
        if not sources:
            raise CannotTravel(f"{place.root} refers to {name}, a module that has no source.")
        self.whole.update(sources)
        for one in sources:
            if one in sys.modules:
                self.watch.module(sys.modules[one])
        if not self.homes.keys().isdisjoint(sources):
            raise StartAgain

    # --- containers and calls --------------------------------------------------------------------

    def _container(self, value: Any, place: Place) -> int:
        try:
            data = self._packed(value, place)
        except NotPlain:
            pass
        else:
            self.watch.value(value, data)
            return self._enter(c.Value(data))
        self.watch.container(value)
        inside = place.within()
        if type(value) in {tuple, frozenset}:
            return self._enter(c.Items(_CONTAINERS[type(value)], tuple(self.add(item, inside) for item in value)))
        index = self._know(value, self._enter(None))
        if type(value) is dict:
            keys = tuple(self.add(key, inside) for key in value)
            self.nodes[index] = c.Pairs(keys, tuple(self.add(item, inside) for item in value.values()))
        else:
            items = tuple(self.add(item, inside) for item in value)
            self.nodes[index] = c.Items(_CONTAINERS[type(value)], items)
        return index

    def _made(self, made: constants.Made, place: Place) -> int:
        of = (
            self._made(made.function, place)
            if isinstance(made.function, constants.Made)
            else self.add(made.function, place)
        )
        args = tuple(self.add(item, place) for item in made.args)
        return self._enter(c.Call(of, args, {name: self.add(item, place) for name, item in made.kwargs.items()}))

    def called(self, index: int, made: constants.Made, place: Place) -> None:
        """Let the node at `index` be made by a call."""
        args = tuple(self.add(item, place) for item in made.args)
        kwargs = {name: self.add(item, place) for name, item in made.kwargs.items()}
        self.nodes[index] = c.Call(self.add(made.function, place), args, kwargs)

    def cell(self, cell: CellType, place: Place, attributes: set[str]) -> int:
        """The index of a variable that functions share; `attributes` as in `named`."""
        if id(cell) in self._known:
            return self._known[id(cell)]
        index = self._know(cell, self._enter(None))
        try:
            content = cell.cell_contents
        except ValueError:
            self.nodes[index] = c.Cell(c.NOTHING)
        else:
            self.watch.cell(cell, content)
            self.nodes[index] = c.Cell(self.named(content, place, attributes))
        return index

    # --- where things are from -------------------------------------------------------------------

    def text(self, text: c.Text, file: str) -> int:
        """The index of lines of `file`."""
        text = msgspec.structs.replace(text, file=self._file_name(text.file, file))
        if text not in self._text_index:
            self._text_index[text] = len(self.texts)
            self.texts.append(text)
        return self._text_index[text]

    def _file_name(self, short: str, file: str) -> str:
        """`short`, or something longer when another file is called so too."""
        number = 1
        name = short
        while self._files.setdefault(name, file) != file:
            number += 1
            name = f"{short} ({number})"
        return name

    def home(self, namespace: dict[str, Any]) -> tuple[str, bool]:
        """The key of the module whose globals `namespace` is, and whether functions and classes in it travel one by
        one: they do not where the module is there as a whole."""
        name = str(namespace.get("__name__", "__main__"))
        module = sys.modules.get(name)
        if module is not None and vars(module) is namespace and name != "__main__":
            whole = name in self.whole or modules.is_installed(name)
            if whole:
                return name, False
        if id(namespace) not in self._keys:
            key, number = name, 1
            while key in self.homes:
                number += 1
                key = f"{name} ({number})"
            file = str(namespace.get("__file__") or "").replace("\\", "/").rpartition("/")[2]
            self.homes[key] = c.Home(name, _package(namespace), file)
            self._keys[id(namespace)] = key
            self._kept.append(namespace)
        return self._keys[id(namespace)], True


def _package(namespace: dict[str, Any]) -> str:
    package = namespace.get("__package__")
    if isinstance(package, str):
        return package
    return str(namespace.get("__name__", "")).rpartition(".")[0]
