"""Looks into a class: its statement travels and is run again, and what has changed since it was run here goes along.

A class body is the one source that is evaluated anew: dataclasses, enumerations and metaclasses make of a body what
nobody could take apart. What its attributes are now wins: a counter, a setting changed later, a method put there
afterwards, see `changed`.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

import msgspec

from crowdgrid.client.capture import constants, modules, names
from crowdgrid.client.capture.changed import changed
from crowdgrid.client.capture.functions import found_names, no_source
from crowdgrid.client.capture.graph import Graph
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
        attributes={key: graph.add(value, place.at(key)) for key, value in changed(cls, found)},
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
