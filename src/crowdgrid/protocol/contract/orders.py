"""What the last release promised, and whether this version keeps it.

docs/protocol/baseline.json has the order of every struct's fields as they were released. It is written once a
release and by nothing else: if it followed each change it would protect nobody.

The rules (`broken` names each breach in a sentence):

1. A struct, a message of a direction, a member of a union and a value of an enum stay, with their tags and values.
2. Fields stay, in their order and of their type; new ones come after them and have a default.
3. A field that could be left out still can be: an older sender leaves it out.
4. New messages and members come after the old ones: their places are numbers in crowdgrid.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import inspect

from crowdgrid.protocol import messages as m
from crowdgrid.protocol.contract.shapes import Contract, Shape, Type, camel, may_be_none, members


def document(contract: Contract) -> dict[str, Any]:
    """The orders of this version, ready for JSON."""
    return {
        "version": m.VERSION,
        "directions": {each.name: [shape.name for shape in each.messages] for each in contract.directions},
        "unions": {name: list(structs) for name, structs in contract.unions.items()},
        "enums": {name: {each.name: each.value for each in kind} for name, kind in contract.enums.items()},
        "structs": {name: _struct(shape) for name, shape in contract.shapes.items()},
    }


def broken(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What `new` breaks of what `old` promised, a sentence each; none when every older peer still understands."""
    return [
        *_orders("direction", old["directions"], new["directions"]),
        *_orders("union", old["unions"], new["unions"]),
        *_enums(old["enums"], new["enums"]),
        *(breach for name in old["structs"] for breach in _structs(name, old["structs"], new["structs"])),
    ]


def type_name(kind: Type, name: str = "") -> str:
    """A type in one word or a few; `name` is the field's, after which a union inside is called."""
    match kind:
        case inspect.StructType() | inspect.EnumType():
            return kind.cls.__name__
        case inspect.UnionType():
            within = members(kind)
            told = type_name(within[0], name) if len(within) == 1 else camel(name)
            return f"{told} or nil" if may_be_none(kind) else told
        case inspect.VarTupleType() | inspect.ListType():
            return f"list of {type_name(kind.item_type, name)}"
        case inspect.TupleType():
            return f"({', '.join(type_name(each, name) for each in kind.item_types)})"
        case inspect.DictType():
            return f"map of {type_name(kind.value_type, name)}"
    return type(kind).__name__.removesuffix("Type").lower()


def _struct(shape: Shape) -> dict[str, Any]:
    fields = [
        {"name": field.name, "type": type_name(field.type, field.name), "required": field.required}
        for field in shape.fields
    ]
    return {"layout": shape.layout, "tag": shape.tag, "closed": shape.closed, "fields": fields}


def _orders(what: str, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, before in old.items():
        after = list(new.get(name, ()))
        if after[: len(before)] != list(before):
            yield f"The {what} {name} was {', '.join(before)} and does not begin like that any more."


def _enums(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, before in old.items():
        for word, value in before.items():
            if new.get(name, {}).get(word) != value:
                yield f"{name}.{word} is not {value!r} any more."


def _structs(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, after = old[name], new.get(name)
    if after is None:
        yield f"{name} is gone."
        return
    for word in ("layout", "tag"):
        if before[word] != after[word]:
            yield f"{name}: its {word} was {before[word]!r} and is {after[word]!r}."
    if after["closed"] and not before["closed"]:
        yield f"{name}: fields it does not know were passed over and are refused."
    for place, was in enumerate(before["fields"]):
        now = after["fields"][place] if place < len(after["fields"]) else {"name": "nothing"}
        if was["name"] != now["name"]:
            yield f"{name}: field {place} was {was['name']} and is {now['name']}."
            return
        if was["type"] != now["type"]:
            yield f"{name}.{was['name']}: it was {was['type']} and is {now['type']}."
        if now["required"] and not was["required"]:
            yield f"{name}.{was['name']}: it could be left out and must be given."
    for field in after["fields"][len(before["fields"]) :]:
        if field["required"]:
            yield f"{name}.{field['name']}: it is new and has no default, which an older sender does not send."
