"""Looks into a class: its statement travels and is run again, and what has changed since it was run here goes along.

A class body is the one source that is evaluated anew: dataclasses, enumerations and metaclasses make of a body what
nobody could take apart. What its attributes are now wins where it is plain: a counter, a setting changed later, a
method put there afterwards.
"""

from __future__ import annotations

import ast
import enum
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import msgspec

from crowdgrid.client.capture import constants, modules, names
from crowdgrid.client.capture.functions import found_names, is_plain, no_source
from crowdgrid.client.capture.graph import Graph
from crowdgrid.client.capture.parsed import first_line
from crowdgrid.client.capture.references import is_found_elsewhere
from crowdgrid.client.capture.refusing import PICKLE, Place
from crowdgrid.client.capture.source import FoundClass, NoSource, find_class
from crowdgrid.errors import CannotTravel


def look_into(graph: Graph, index: int, cls: type, place: Place) -> None:
    """Complete the node of a class that travels by its source. Raises CannotTravel."""
    name = cls.__name__
    if "." in cls.__qualname__:
        raise CannotTravel(
            f"The class {name}, captured by {place.root}, is defined inside a function and cannot travel.",
            hint=f"Define it outside of functions, or inside the function that is sent. {PICKLE}",
        )
    try:
        found = find_class(cls)
    except NoSource as error:
        made = constants.named_tuple(cls) or constants.enumeration(cls)
        if made is None:
            raise no_source(name, place, error) from None
        graph.called(index, made, place)
        return
    graph.watch.class_(cls)
    place = place.of(name)
    module = sys.modules.get(cls.__module__)
    namespace = vars(module) if module is not None else {"__name__": cls.__module__}
    home, by_parts = graph.home(namespace)
    attributes = names.attribute_names(found.code)
    now, then = names.class_names(found.code)
    graph.nodes[index] = msgspec.structs.replace(
        found.node,
        home=home,
        text=graph.text(found.text, found.file),
        uses=found_names(graph, now, namespace, attributes, place) if by_parts else {},
        names=found_names(graph, [*then, *_annotating(found, namespace)], namespace, attributes, place)
        if by_parts
        else {},
        attributes={key: graph.add(value, place.at(key)) for key, value in _changed(cls, found)},
    )
    for imported in modules.imported_by(found.tree, str(namespace.get("__package__") or "")):
        graph.import_when_called(imported, place)


def _annotating(found: FoundClass, namespace: dict[str, Any]) -> list[str]:
    """What the annotations of its attributes name, though nothing evaluates them: a dataclass looks `ClassVar` up, and
    `typing.get_type_hints` all of them."""
    if not found.node.later_annotations:
        return []
    names = {
        node.id: None
        for statement in found.tree.body
        if isinstance(statement, ast.AnnAssign)
        for node in ast.walk(statement.annotation)
        if isinstance(node, ast.Name)
    }
    return [name for name in names if name in namespace and _is_a_type(namespace[name])]


def _is_a_type(value: Any) -> bool:
    is_own = isinstance(value, type) and "." not in value.__qualname__
    return is_own or is_found_elsewhere(value)


def _changed(cls: type, found: FoundClass) -> Iterator[tuple[str, Any]]:
    """Attributes that may be other than the class statement makes them, and that can travel."""
    if isinstance(cls, enum.EnumMeta):
        return
    body: dict[str, list[ast.AST]] = {}
    for name, node in _body(found.tree):
        body.setdefault(name, []).append(node)
    for name, value in vars(cls).items():
        nodes = body.get(name, [])
        if isinstance(value, FunctionType):
            if _is_own(value) and _is_put_there(value, nodes, found.file):
                yield name, value
        elif name.startswith("__") and name.endswith("__"):
            continue
        elif _is_code(value) or (is_plain(value) and not any(_is_literally(value, node) for node in nodes)):
            yield name, value


def _body(tree: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """What the class body defines: names, and the expression or definition of each."""
    todo: list[ast.AST] = list(tree.body)
    for node in todo:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
            continue
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        todo += ast.iter_child_nodes(node)


def _is_put_there(value: FunctionType, nodes: list[ast.AST], file: str) -> bool:
    """Whether this method is none that the body defines under this name, nor what a decorator there made of one."""
    code = value.__code__
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return False  # what an expression makes it is made again
        if node.decorator_list or (code.co_filename, code.co_firstlineno) == (file, first_line(node)):
            return False
    return True


def _is_code(value: Any) -> bool:
    """Whether it is a container that holds functions or classes, and besides them only plain values."""
    if type(value) not in {list, tuple, set, dict} or is_plain(value):
        return False
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return all(isinstance(item, FunctionType | type) or is_plain(item) or _is_code(item) for item in items)


def _is_own(value: FunctionType) -> bool:
    return not modules.is_installed(
        str(value.__globals__.get("__name__"))
    ) and not value.__code__.co_filename.startswith("<string")


def _is_literally(value: Any, node: ast.AST) -> bool:
    """Whether the body says just this."""
    try:
        told = ast.literal_eval(node) if isinstance(node, ast.expr) else node
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(told) is type(value) and bool(told == value)
