"""What the messages look like, read from their types: the one source of everything that is published.

`msgspec.inspect` gives what the codec really does (array or map, tag, order, defaults); nothing about a message is
written down a second time. Only the meaning of a field comes from words: see `words`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect

from crowdgrid.protocol import messages as m
from crowdgrid.protocol.contract import words

Type: TypeAlias = inspect.Type
Layout: TypeAlias = str  # "array" or "map"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct.

    Attributes:
        default: as JSON says it; None and meaningless when `required`.
        doc: one sentence or more. unit: "" when it is a number of things or no number.
    """

    name: str
    type: Type
    required: bool
    default: Any
    doc: str
    unit: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One struct as it travels.

    Attributes:
        array: fields travel as an array in this order, after the tag if there is one; otherwise as a map by name.
        tag: what tells it from others of a union, "" when it is in none. tag_field: the tag's key in a map.
        closed: a field it does not know is refused, not passed over.
    """

    name: str
    cls: type[msgspec.Struct]
    doc: str
    array: bool
    tag: str
    tag_field: str
    closed: bool
    fields: tuple[Field, ...]

    @property
    def layout(self) -> Layout:
        """How it travels, in one word."""
        return "array" if self.array else "map"

    @property
    def summary(self) -> str:
        """Its first sentence."""
        return words.sentences(self.doc)[0]


@dataclass(frozen=True, slots=True)
class Direction:
    """What one side of one link may say.

    Attributes:
        name: of the union. path: where the hub listens. sender, receiver: for people.
    """

    name: str
    path: str
    sender: str
    receiver: str
    messages: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything both links say.

    Attributes:
        shapes: every struct by name: messages first, in the order of the directions, then their parts.
        enums: by name. unions: tagged unions inside messages, by the name of the field that holds them.
    """

    directions: tuple[Direction, ...]
    shapes: dict[str, Shape] = field(default_factory=dict)
    enums: dict[str, type[enum.Enum]] = field(default_factory=dict)
    unions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def messages(self) -> dict[str, Shape]:
        """The structs that travel by themselves, each once."""
        return {shape.name: shape for direction in self.directions for shape in direction.messages}


LINKS: Final[tuple[tuple[str, Any, str, str, str], ...]] = (
    ("NodeToHub", m.NodeToHub, "/v1/node", "node", "hub"),
    ("HubToNode", m.HubToNode, "/v1/node", "hub", "node"),
    ("ClientToHub", m.ClientToHub, "/v1/client", "client", "hub"),
    ("HubToClient", m.HubToClient, "/v1/client", "hub", "client"),
)


@cache
def contract() -> Contract:
    """The contract of this version."""
    directions = []
    for name, union, path, sender, receiver in LINKS:
        told = inspect.type_info(union)
        assert isinstance(told, inspect.UnionType), f"{name} is a union of messages"
        messages = tuple(shape_of(kind) for kind in told.types if isinstance(kind, inspect.StructType))
        directions.append(Direction(name, path, sender, receiver, messages))
    found = Contract(tuple(directions))
    for shape in found.messages.values():
        _add(found, shape)
    for shape in list(found.messages.values()):
        for part in shape.fields:
            _collect(found, part.type, part.name)
    return found


def shape_of(kind: inspect.StructType) -> Shape:
    """A struct, read from its type."""
    docs = words.of(kind.cls)
    fields = tuple(
        Field(each.encode_name, each.type, each.required, _default(each), docs.fields[each.name], docs.units[each.name])
        for each in kind.fields
    )
    tag = "" if kind.tag is None else str(kind.tag)
    return Shape(
        kind.cls.__name__,
        kind.cls,
        docs.text,
        kind.array_like,
        tag,
        kind.tag_field or "",
        kind.forbid_unknown_fields,
        fields,
    )


def camel(name: str) -> str:
    """`blob_token` as `BlobToken`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def members(kind: inspect.UnionType) -> tuple[Type, ...]:
    """A union's types without None."""
    return tuple(each for each in kind.types if not isinstance(each, inspect.NoneType))


def may_be_none(kind: Type) -> bool:
    """Whether a field may hold nothing at all."""
    return isinstance(kind, inspect.UnionType) and kind.includes_none


def _default(told: inspect.Field) -> Any:
    if told.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(told.default_factory())
    return None if told.required else msgspec.to_builtins(told.default)


def _add(found: Contract, shape: Shape) -> None:
    known = found.shapes.setdefault(shape.name, shape)
    assert known.cls is shape.cls, f"two structs of the links are called {shape.name}"


def _collect(found: Contract, kind: Type, name: str) -> None:
    """Note every struct, enum and union below `kind`; `name` is the field's, after which a union is called."""
    match kind:
        case inspect.StructType():
            if kind.cls.__name__ in found.shapes:
                assert found.shapes[kind.cls.__name__].cls is kind.cls, f"two structs are called {kind.cls.__name__}"
                return
            shape = shape_of(kind)
            _add(found, shape)
            for part in shape.fields:
                _collect(found, part.type, part.name)
        case inspect.EnumType():
            found.enums[kind.cls.__name__] = kind.cls
        case inspect.UnionType():
            within = members(kind)
            for each in within:
                _collect(found, each, name)
            structs = tuple(each.cls.__name__ for each in within if isinstance(each, inspect.StructType))
            if len(within) > 1:
                assert len(structs) == len(within), f"{name}: a union of anything but structs has no place on a link"
                assert found.unions.setdefault(camel(name), structs) == structs, f"two unions are called {name}"
        case inspect.VarTupleType() | inspect.ListType():
            _collect(found, kind.item_type, name)
        case inspect.TupleType():
            for each in kind.item_types:
                _collect(found, each, name)
        case inspect.DictType():
            _collect(found, kind.value_type, name)
