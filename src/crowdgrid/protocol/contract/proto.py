"""The same messages in Protocol Buffers' language, for generators and readers who know it best.

The links speak msgpack; this is a rendering with the same fields in the same order, which a gateway or a typed client
can use as its model. Field numbers are places: the first field of a struct is 1, and as fields are only ever added at
the end, a number once given stays. A field with a default is `optional`: when it is absent it means the default.
"""

from __future__ import annotations

import enum
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import inspect

from crowdgrid.protocol import messages as m
from crowdgrid.protocol.contract.shapes import Contract, Direction, Field, Shape, Type, camel, members

WIDTH: Final = 110
_PLACES: Final = ("first", "second", "third", "fourth")
_SCALARS: Final[tuple[tuple[type[Type], str], ...]] = (
    (inspect.BytesType, "bytes"),
    (inspect.StrType, "string"),
    (inspect.BoolType, "bool"),
    (inspect.IntType, "int64"),
    (inspect.FloatType, "double"),
)
_HEAD: Final = """\
// Made from the types of crowdgrid.protocol by `make contract`; not edited by hand.
//
// The links speak msgpack, see links.schema.json and index.md: this file shows the same messages, with the same
// fields in the same order. `optional` fields have the default named beside them when they are absent.

syntax = "proto3";

package crowdgrid.v{version};

import "google/protobuf/struct.proto";
"""


def text(contract: Contract) -> str:
    """The whole file."""
    parts = [_HEAD.format(version=m.VERSION)]
    for direction in contract.directions:
        parts += [_frame(direction), _direction(direction)]
    parts += [_union(name, structs) for name, structs in contract.unions.items()]
    for shape in contract.shapes.values():
        parts += [_message(shape), *_entries(shape)]
    parts += [_enum(kind) for kind in contract.enums.values()]
    return "\n".join(parts)


def tags(contract: Contract) -> Iterator[tuple[str, str]]:
    """(direction, tag) of each place in the `oneof` of a direction, in the order of their numbers."""
    for direction in contract.directions:
        yield from ((direction.name, shape.tag) for shape in direction.messages)


# --- messages --------------------------------------------------------------------------------


def _frame(direction: Direction) -> str:
    about = f"A frame from a {direction.sender} to a {direction.receiver}: one WebSocket message on {direction.path}."
    return _block(about, f"message {direction.name}Frame", [f"repeated {direction.name} messages = 1;"])


def _direction(direction: Direction) -> str:
    lines = [f"{shape.name} {shape.tag} = {number};" for number, shape in enumerate(direction.messages, 1)]
    about = f"What a {direction.sender} may say to a {direction.receiver}; on the wire the tag is the field's name."
    return _block(about, f"message {direction.name}", ["oneof message {", *_indented(lines), "}"])


def _union(name: str, structs: Sequence[str]) -> str:
    lines = [f"{struct} {_snake(struct)} = {number};" for number, struct in enumerate(structs, 1)]
    return _block("One of these; on the wire a map that names its `kind`.", f"message {name}", [
        "oneof kind {", *_indented(lines), "}"
    ])  # fmt: skip


def _message(shape: Shape) -> str:
    lines: list[str] = []
    for number, field in enumerate(shape.fields, 1):
        label, kind = _type(shape, field)
        optional = not field.required and not label and not kind.startswith("map<")
        lines += _comment(f"{field.doc}{_facts(field)}")
        lines.append(f"{label or ('optional ' if optional else '')}{kind} {field.name} = {number};")
    layout = f"On the wire: {'an' if shape.array else 'a'} {shape.layout}"
    layout += f", tag `{shape.tag}`." if shape.tag else "."
    return _block(f"{shape.doc}\n\n{layout}", f"message {shape.name}", lines)


def _facts(field: Field) -> str:
    """Unit and default of a field, for its comment."""
    facts = [field.unit] if field.unit else []
    if not field.required and field.default not in ("", (), {}, [], None):
        facts.append(f"default {_plain(field.default)}")
    return f" ({', '.join(facts)})" if facts else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return str(value)


def _type(shape: Shape, field: Field) -> tuple[str, str]:
    """(label with a blank, type) of a field."""
    kind = field.type
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        item = kind.item_type
        return "repeated ", _entry_name(shape, field) if _needs_entry(item) else _single(item, field.name)
    if isinstance(kind, inspect.TupleType):
        return "", _entry_name(shape, field)
    return "", _single(kind, field.name)


def _single(kind: Type, name: str) -> str:
    match kind:
        case inspect.StructType() | inspect.EnumType():
            return kind.cls.__name__
        case inspect.UnionType():
            within = members(kind)
            return _single(within[0], name) if len(within) == 1 else camel(name)
        case inspect.DictType():
            if isinstance(kind.value_type, inspect.AnyType):
                return "google.protobuf.Struct"
            return f"map<string, {_single(kind.value_type, name)}>"
    found = next((word for each, word in _SCALARS if isinstance(kind, each)), "")
    assert found, f"{name}: no word of Protocol Buffers for {kind!r}"
    return found


# --- what Protocol Buffers cannot nest: lists in lists, and pairs ---------------------------------


def _needs_entry(kind: Type) -> bool:
    return isinstance(kind, inspect.VarTupleType | inspect.ListType | inspect.TupleType)


def _entry_name(shape: Shape, field: Field) -> str:
    return f"{shape.name}{camel(field.name)}Entry"


def _entries(shape: Shape) -> Iterator[str]:
    """The messages that stand for pairs and inner lists of a struct's fields."""
    for field in shape.fields:
        inner = field.type.item_type if isinstance(field.type, inspect.VarTupleType | inspect.ListType) else None
        kind = inner or field.type
        if isinstance(kind, inspect.TupleType):
            assert len(kind.item_types) <= len(_PLACES), f"{field.name}: a tuple this long wants to be a struct"
            items = enumerate((_flat(item, field.name) for item in kind.item_types), 1)
            lines = [f"{label}{word} {_PLACES[number - 1]} = {number};" for number, (label, word) in items]
        elif inner is not None and _needs_entry(inner):
            lines = [f"repeated {_flat(inner, field.name)[1]} items = 1;"]
        else:
            continue
        about = f"{'An element' if inner else 'The value'} of {shape.name}.{field.name}: an array on the wire."
        yield _block(about, f"message {_entry_name(shape, field)}", lines)


def _flat(kind: Type, name: str) -> tuple[str, str]:
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        assert not _needs_entry(kind.item_type), f"{name}: lists this deep have no rendering yet"
        return "repeated ", _single(kind.item_type, name)
    return "", _single(kind, name)


# --- enums and text ---------------------------------------------------------------------------


def _enum(kind: type[enum.Enum]) -> str:
    """Numbers of an enum of integers are those of the wire; of one of words, their places, with 0 for none."""
    prefix = _snake(kind.__name__).upper()
    numbered = all(isinstance(each.value, int) for each in kind)
    lines = [] if numbered else [f"{prefix}_UNSPECIFIED = 0;"]
    for place, each in enumerate(kind, 1):
        beside = "" if numbered else f"  // on the wire: {each.value}"
        lines.append(f"{prefix}_{each.name} = {each.value if numbered else place};{beside}")
    return _block(kind.__doc__ or "", f"enum {kind.__name__}", lines)


def _block(about: str, head: str, lines: Iterable[str]) -> str:
    inside = list(lines)
    body = [f"{head} {{", *_indented(inside), "}"] if inside else [f"{head} {{}}"]
    return "\n".join([*_comment(about), *body, ""])


def _comment(about: str) -> list[str]:
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", about.strip()):
        lines += ["", *textwrap.wrap(" ".join(paragraph.split()), WIDTH)] if lines else textwrap.wrap(
            " ".join(paragraph.split()), WIDTH
        )  # fmt: skip
    return [f"// {line}".rstrip() for line in lines]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
