"""JSON Schema 2020-12 of every message, as it is once a frame is decoded.

JSON has no bytes: where a message holds some, the schema asks for their base64 (`contentEncoding`), which is also how
REST shows them, and says so with `"x-msgpack": "bin"`. A message is an array whose first element is its tag; elements
beyond those named here belong to a later version and are passed over, so nothing forbids them.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from msgspec import inspect

from crowdgrid import limits
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.contract.shapes import Contract, Direction, Field, Shape, Type, camel, may_be_none, members

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FRAME: Final = "Frame"  # behind a direction's name

_SCALARS: Final[tuple[tuple[type[Type], dict[str, Any]], ...]] = (
    (inspect.BytesType, {"type": "string", "contentEncoding": "base64", "x-msgpack": "bin"}),
    (inspect.StrType, {"type": "string", "x-msgpack": "str"}),
    (inspect.BoolType, {"type": "boolean"}),
    (inspect.IntType, {"type": "integer"}),
    (inspect.FloatType, {"type": "number"}),
    (inspect.AnyType, {}),
)


def document(contract: Contract) -> dict[str, Any]:
    """The whole schema: it accepts any frame of either link; `$defs` has each direction, message and part."""
    defs: dict[str, Any] = {}
    for direction in contract.directions:
        defs[direction.name + FRAME] = _frame(direction)
        defs[direction.name] = _one_of([shape.name for shape in direction.messages])
        defs[direction.name]["description"] = f"What a {direction.sender} may say to a {direction.receiver}."
    for name, structs in contract.unions.items():
        defs[name] = _one_of(structs)
    defs |= {name: of_shape(shape) for name, shape in contract.shapes.items()}
    defs |= {name: of_enum(kind) for name, kind in contract.enums.items()}
    return {
        "$schema": DIALECT,
        "title": f"Frames of crowdgrid's links, version {m.VERSION}",
        "description": (
            "A frame is one binary WebSocket message: a msgpack list of messages, each an array `[tag, field, …]`. "
            f"At most {limits.FRAME_BYTES:,} bytes. Bytes (msgpack bin) are shown as base64 here."
        ),
        "anyOf": [_ref(direction.name + FRAME) for direction in contract.directions],
        "$defs": defs,
    }


def of_shape(shape: Shape) -> dict[str, Any]:
    """A struct, as the array or map that travels."""
    told: dict[str, Any] = {"title": shape.name, "description": " ".join(shape.doc.split())}
    required = [field.name for field in shape.fields if field.required]
    if shape.array:
        tag = [{"title": "tag", "const": shape.tag}] if shape.tag else []
        told |= {"type": "array", "prefixItems": tag + [_named(field) for field in shape.fields]}
        told["minItems"] = len(tag) + len(required)
        return told
    tagged = {shape.tag_field: {"title": "tag", "const": shape.tag}} if shape.tag else {}
    told |= {"type": "object", "properties": tagged | {field.name: _of_field(field) for field in shape.fields}}
    told["required"] = [*tagged, *required]
    if shape.closed:
        told["additionalProperties"] = False
    return told


def of_enum(kind: type[enum.Enum]) -> dict[str, Any]:
    """An enum by its values, each with its name."""
    return {
        "title": kind.__name__,
        "description": " ".join((kind.__doc__ or "").split()),
        "oneOf": [{"const": each.value, "title": each.name} for each in kind],
    }


def of_type(kind: Type, name: str) -> dict[str, Any]:
    """A field's type; `name` is the field's."""
    match kind:
        case inspect.StructType():
            return _ref(kind.cls.__name__)
        case inspect.EnumType():
            return _ref(kind.cls.__name__)
        case inspect.UnionType():
            return _of_union(kind, name)
        case inspect.VarTupleType() | inspect.ListType():
            return {"type": "array", "items": of_type(kind.item_type, name)}
        case inspect.TupleType():
            items = [of_type(each, name) for each in kind.item_types]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
        case inspect.DictType():
            values = of_type(kind.value_type, name)
            return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    scalar = next((told for each, told in _SCALARS if isinstance(kind, each)), None)
    assert scalar is not None, f"{name}: the links do not carry {kind!r}"
    return dict(scalar)


def _of_union(kind: inspect.UnionType, name: str) -> dict[str, Any]:
    within = members(kind)
    told = of_type(within[0], name) if len(within) == 1 else _ref(camel(name))
    return {"anyOf": [told, {"type": "null"}]} if may_be_none(kind) else told


def _named(field: Field) -> dict[str, Any]:
    return {"title": field.name} | _of_field(field)


def _of_field(field: Field) -> dict[str, Any]:
    told = of_type(field.type, field.name) | {"description": field.doc}
    if field.unit:
        told["x-unit"] = field.unit
    if not field.required:
        told["default"] = field.default
    return told


def _frame(direction: Direction) -> dict[str, Any]:
    return {
        "description": f"A frame from a {direction.sender} to a {direction.receiver} on `{direction.path}`.",
        "type": "array",
        "items": _ref(direction.name),
    }


def _one_of(names: list[str] | tuple[str, ...]) -> dict[str, Any]:
    return {"oneOf": [_ref(name) for name in names]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}
