"""Makes the graph of a document: each node once, in order, what can wait filled in when it is there.

Making runs code of whoever sent the document: bodies of classes, decorators of classes, modules. It is done where the
function itself would be run, and nowhere else.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

from crowdgrid.errors import BadInput, BadProgram, CrowdgridError, Unavailable
from crowdgrid.protocol import captured as c
from crowdgrid.protocol import values
from crowdgrid.runtimes.rebuild import compiling

_CONTAINERS: Final[dict[str, Callable[[Any], Any]]] = {"tuple": tuple, "frozenset": frozenset}


def new_homes(document: c.Document) -> dict[str, ModuleType]:
    """An empty module for each of which only parts travelled."""
    homes = {}
    for key, home in document.homes.items():
        made = ModuleType(home.name)
        made.__file__ = home.file
        made.__package__ = home.package
        made.__dict__["__builtins__"] = builtins
        homes[key] = made
    return homes


def lines_of(document: c.Document) -> dict[str, list[str]]:
    """The lines of source that travelled, by file, each at its place."""
    files: dict[str, list[str]] = {source.file: _split(source.text) for source in document.sources.values()}
    for text in document.texts:
        lines = files.setdefault(text.file, [])
        new = _split(text.lines)
        lines += ["\n"] * (text.first - 1 + len(new) - len(lines))
        lines[text.first - 1 : text.first - 1 + len(new)] = new
    return files


def _split(text: str) -> list[str]:
    """Lines as Python counts them: a form feed ends none."""
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]


class Maker:
    """Makes one document.

    Args:
        document: as `captured.read_document` gave it.
        homes: the modules whose globals its functions use, see `new_homes`; they are filled.
        name, python: of the program, for people.
        shared: classes of other documents, by the digest of all they are made of; None: share nothing. What an
            initializer made is so of the same classes a function knows.
    """

    def __init__(
        self,
        document: c.Document,
        homes: dict[str, ModuleType],
        name: str,
        python: tuple[int, int],
        shared: dict[bytes, Any] | None = None,
    ) -> None:
        self._shared = shared
        self._document = document
        self._homes = homes
        self._name = name
        self._python = python
        self._made: list[Any] = []
        self._pending: list[tuple[int, Callable[[], None]]] = []  # (highest index it waits for, what to do then)
        self._filled: list[Callable[[], None]] = []  # what was done so, where a statement may have changed it since
        self._runs_statements = any(isinstance(node, c.Class) for node in document.nodes)

    def make(self) -> Any:
        """The root of the document.

        Raises:
            BadProgram: it cannot be made of this, or not by this Python.
            Unavailable: a module it needs is not here.
        """
        for module in self._document.requires:
            if importlib.util.find_spec(module) is None:
                raise missing(module)
        for index, node in enumerate(self._document.nodes):
            if self._shared is not None and isinstance(node, c.Class):
                digest = c.digest_of(self._document, index)
                if digest not in self._shared:
                    self._shared[digest] = self._one(node)
                self._made.append(self._shared[digest])
                continue
            if isinstance(node, c.Call):
                self._fill()  # what is there now may be called by it
            self._made.append(self._one(node))
        self._fill()
        self._undo()
        return self._made[self._document.root]

    def _undo(self) -> None:
        """Take back what class statements did besides making a class, to what travelled: a registry to which a base's
        hook, a decorator or a metaclass added the class has it already, a counter has counted it."""
        for fill in self._filled:
            fill()
        if self._runs_statements:
            for made, node in zip(self._made, self._document.nodes):
                if isinstance(node, c.Value) and isinstance(made, list | dict | set):
                    _refill(made, self._value(node.data))

    def _fill(self) -> None:
        count = len(self._made)
        ready = [fill for highest, fill in self._pending if highest < count]
        self._pending = [entry for entry in self._pending if entry[0] >= count]
        for fill in ready:
            fill()
        if self._runs_statements:
            self._filled += ready

    def _later(self, indices: tuple[int, ...], fill: Callable[[], None]) -> None:
        self._pending.append((max(indices, default=-1), fill))

    def _one(self, node: c.Node) -> Any:
        match node:
            case c.Value(data):
                return self._value(data)
            case c.Module(name, also):
                for submodule in also:
                    self._import(submodule)
                return self._import(name)
            case c.Name(module, qualname):
                return self._named(module, qualname)
            case c.Attribute(of, name):
                return getattr(self._made[of], name)
            case c.Call():
                return self._called(node)
            case c.Items() | c.Pairs():
                return self._container(node)
            case c.Cell(content):
                return self._cell(content)
            case c.Function():
                return self._function(node)
            case c.Class():
                return self._class(node)
            case c.Sentinel():
                return object()

    def _value(self, data: bytes) -> Any:
        try:
            return values.unpack_value(data)
        except BadInput as error:
            raise BadProgram(error.message) from None

    # --- by name ---------------------------------------------------------------------------------

    def _import(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise missing(error.name or name) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of whoever sent it
            here = BadProgram if name in self._document.sources else Unavailable
            raise here(
                f"The module {name!r} cannot be imported on this node: {_said(error)}.",
                hint="Try `import` on that machine.",
            ) from None

    def _named(self, module: str, qualname: str) -> Any:
        found: Any = self._import(module)
        for part in qualname.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise Unavailable(
                    f"The module {module!r} on this node has no {qualname!r}.",
                    hint="It is probably another version than where the function was sent from.",
                ) from None
        return getattr(found, "__wrapped__", found) if getattr(found, "_crowdgrid_function", False) is True else found

    # --- containers and calls --------------------------------------------------------------------

    def _container(self, node: c.Items | c.Pairs) -> Any:
        made = self._made
        if isinstance(node, c.Pairs):
            pairs: dict[Any, Any] = {}
            self._later(
                (*node.keys, *node.items),
                lambda: _refill(pairs, {made[key]: made[item] for key, item in zip(node.keys, node.items)}),
            )
            return pairs
        if node.kind in _CONTAINERS:
            return _CONTAINERS[node.kind](made[item] for item in node.items)
        items: Any = [] if node.kind == "list" else set()
        self._later(node.items, lambda: _refill(items, [made[i] for i in node.items]))
        return items

    def _called(self, node: c.Call) -> Any:
        made = self._made
        kwargs = {name: made[index] for name, index in node.kwargs.items()}
        return self._run(lambda: made[node.of](*[made[index] for index in node.args], **kwargs))

    def _run(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except CrowdgridError:
            raise
        except ModuleNotFoundError as error:
            raise missing(error.name or "?") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of whoever sent it
            raise BadProgram(f"{self._name} cannot be made here: {_said(error)}.") from None

    # --- functions and classes -------------------------------------------------------------------

    def _cell(self, content: int) -> CellType:
        cell = CellType()
        if content != c.NOTHING:
            self._later((content,), lambda: setattr(cell, "cell_contents", self._made[content]))
        return cell

    def _globals(self, home: str) -> dict[str, Any]:
        return vars(self._homes[home] if home in self._homes else self._import(home))

    def _bind(self, namespace: dict[str, Any], names: dict[str, int]) -> None:
        for name, index in names.items():
            self._later((index,), functools.partial(self._bind_one, namespace, name, index))

    def _bind_one(self, namespace: dict[str, Any], name: str, index: int) -> None:
        namespace[name] = self._made[index]

    def _function(self, node: c.Function) -> FunctionType:
        made = self._made
        code = self._compiled(compiling.function_code, node)
        namespace = self._globals(node.home)
        try:
            closure = tuple(made[node.free[name]] for name in code.co_freevars)
        except KeyError as error:
            raise BadProgram(f"{self._name} uses a variable {error} that did not travel.") from None
        function = FunctionType(code, namespace, code.co_name, None, closure)
        self._bind(namespace, node.names)
        self._later(
            node.defaults,
            lambda: setattr(function, "__defaults__", tuple(made[i] for i in node.defaults) or None),
        )
        for name, index in node.keyword_defaults.items():
            self._later((index,), functools.partial(self._keyword_default, function, name, index))
        for name, index in node.attributes.items():
            self._later((index,), functools.partial(self._attribute, function, name, index))
        return function

    def _keyword_default(self, function: FunctionType, name: str, index: int) -> None:
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), name: self._made[index]}

    def _attribute(self, owner: Any, name: str, index: int) -> None:
        setattr(owner, name, self._made[index])

    def _class(self, node: c.Class) -> Any:
        code = self._compiled(compiling.class_code, node)
        namespace = self._globals(node.home)
        self._bind(namespace, node.names)
        self._fill()  # what is there now may be called while the class is made
        for name, index in node.uses.items():
            namespace[name] = self._made[index]
        made: dict[str, Any] = {}
        self._run(lambda: exec(code, namespace, made))  # noqa: S102 - this is what a program is sent for
        cls = made[node.name]
        for name, index in node.attributes.items():
            self._later((index,), functools.partial(self._class_attribute, cls, name, index))
        return cls

    def _class_attribute(self, cls: Any, name: str, index: int) -> None:
        now, then = vars(cls).get(name, c.NOTHING), self._made[index]
        if type(now) is not type(then) or isinstance(then, FunctionType) or not _same(now, then):
            setattr(cls, name, then)

    def _compiled(self, compile_: Callable[[Any, c.Text], Any], node: Any) -> Any:
        try:
            return compile_(node, self._document.texts[node.text])
        except SyntaxError as error:
            raise compiling.for_people(error, self._python, self._name) from None
        except (ValueError, IndexError, RecursionError) as error:
            raise BadProgram(f"The source of {self._name} cannot be read: {error}.") from None


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


def _same(now: Any, then: Any) -> bool:
    try:
        return bool(now == then)
    except Exception:  # noqa: BLE001 - an array compares with more than one answer
        return False


def missing(module: str) -> Unavailable:
    """What to raise for a module that is not here."""
    return Unavailable(
        f"The module {module!r} is not installed on this node.",
        hint="Install it there, or run the function on nodes that have it.",
    )


def _said(error: BaseException) -> str:
    from crowdgrid.runtimes.rebuild.raised import one_line

    return one_line(error).rstrip(".")
