"""Looks into a function: the globals it reads, its closure, its defaults, what is set on it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from types import FunctionType
from typing import Any, Final

import msgspec

from crowdgrid.client.capture import modules, names
from crowdgrid.client.capture.graph import Graph
from crowdgrid.client.capture.refusing import PICKLE, Place
from crowdgrid.client.capture.source import NoSource, find_function
from crowdgrid.errors import CannotTravel
from crowdgrid.protocol.values import pack_value

# Every module has these of its own.
_MODULE: Final = frozenset({"__name__", "__file__", "__package__", "__builtins__", "__doc__", "__spec__", "__loader__"})


def look_into(graph: Graph, index: int, fn: FunctionType, place: Place) -> None:
    """Complete the node of a function that travels by its source. Raises CannotTravel."""
    name = "lambda" if fn.__name__ == "<lambda>" else fn.__name__
    try:
        found = find_function(fn)
    except NoSource as error:
        raise no_source(name, place, error) from None
    graph.watch.function(fn)
    place = place.of(name)
    home, by_parts = graph.home(fn.__globals__)
    attributes = names.attribute_names(fn.__code__)
    free = {
        variable: graph.cell(cell, place.at(variable), attributes)
        for variable, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ())
    }
    graph.nodes[index] = msgspec.structs.replace(
        found.node,
        home=home,
        text=graph.text(found.text, found.file),
        free=free,
        defaults=tuple(graph.add(value, place.at(of)) for of, value in _defaults(fn)),
        keyword_defaults={of: graph.add(value, place.at(of)) for of, value in (fn.__kwdefaults__ or {}).items()},
        attributes=_attributes(graph, fn, place),
        names=found_names(graph, names.global_names(fn.__code__), fn.__globals__, attributes, place)
        if by_parts
        else {},
    )
    if "import" in found.text.lines:
        _imports(graph, found.tree, fn.__globals__, place)


def found_names(
    graph: Graph, wanted: Iterable[str], namespace: dict[str, Any], attributes: set[str], place: Place
) -> dict[str, int]:
    """The nodes of globals; a name that is not there yet is left out, as Python does until it is used."""
    found = {}
    for name in wanted:
        if name in _MODULE:
            continue
        graph.watch.name(namespace, name)
        if name in namespace:
            value = namespace[name]
        elif hasattr(builtins, name) and not _is_everywhere(name):
            value = getattr(builtins, name)  # notebooks put things of their own there
        else:
            continue
        found[name] = graph.named(value, place.at(name), attributes)
    return found


def _is_everywhere(name: str) -> bool:
    """Whether a builtin is Python's own."""
    value = getattr(builtins, name)
    module = getattr(value, "__module__", None) if callable(value) else type(value).__module__
    return module in {"builtins", "_sitebuiltins", "_io", "io", None}


def _defaults(fn: FunctionType) -> Iterable[tuple[str, Any]]:
    values = fn.__defaults__ or ()
    code = fn.__code__
    parameters = code.co_varnames[: code.co_argcount]
    return zip(parameters[len(parameters) - len(values) :], values)


def _attributes(graph: Graph, fn: FunctionType, place: Place) -> dict[str, int]:
    """What is set on a function, if it is plain; the function it wraps; names that differ from its code's."""
    found = {}
    for name, value in vars(fn).items():
        if name == "__wrapped__" or is_plain(value):
            found[name] = graph.add(value, place.at(name))
    code = fn.__code__
    told = {"__name__": code.co_name, "__qualname__": code.co_qualname, "__module__": fn.__globals__.get("__name__")}
    told["__doc__"] = code.co_consts[0] if code.co_consts and isinstance(code.co_consts[0], str) else None
    for name, usual in told.items():
        value = getattr(fn, name)
        if value != usual and is_plain(value):
            found[name] = graph.add(value, place.at(name))
    return found


def is_plain(value: Any) -> bool:
    """Whether it can be packed."""
    try:
        pack_value(value)
    except CannotTravel:
        return False
    return True


def _imports(graph: Graph, tree: Any, namespace: dict[str, Any], place: Place) -> None:
    package = str(namespace.get("__package__") or "")
    for module in modules.imported_by(tree, package):
        graph.import_when_called(module, place)
    for module in modules.imported_for_sure(tree, package):
        graph.require(module)


def no_source(name: str, place: Place, error: NoSource) -> CannotTravel:
    """What to raise for a function or class without source."""
    captured = "" if name == place.root else f" (captured by {place.root})"
    return CannotTravel(f"{name}{captured} cannot travel: {error}.", hint=error.hint or PICKLE)
