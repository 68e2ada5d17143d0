"""Hypothesis strategies of every message, made from its types, and a validator of what really travels."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import msgspec
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import inspect

from crowdgrid.protocol.contract import schema
from crowdgrid.protocol.contract.shapes import Shape, contract

INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | INTEGERS
    # JSON Schema counts 1.0 among the integers; on the links it is a float, and refused where an integer is due.
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def made(shape: Shape) -> st.SearchStrategy[Any]:
    """Any value of a struct."""
    return _made(shape.cls)


@cache
def _made(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    told = inspect.type_info(cls)
    assert isinstance(told, inspect.StructType)
    return st.builds(cls, **{field.name: _of(field.type) for field in told.fields})


def _of(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StructType():
            return st.deferred(lambda: _made(kind.cls))
        case inspect.EnumType():
            return st.sampled_from(list(kind.cls))
        case inspect.UnionType():
            return st.one_of(*(_of(each) for each in kind.types))
        case inspect.VarTupleType():
            return st.lists(_of(kind.item_type), max_size=3).map(tuple)
        case inspect.TupleType():
            return st.tuples(*(_of(each) for each in kind.item_types))
        case inspect.DictType():
            return st.dictionaries(st.text(max_size=5), _of(kind.value_type), max_size=3)
    plain: dict[type[Any], st.SearchStrategy[Any]] = {
        inspect.AnyType: ANYTHING,
        inspect.NoneType: st.none(),
        inspect.BytesType: st.binary(max_size=40),
        inspect.StrType: st.text(max_size=20),
        inspect.BoolType: st.booleans(),
        inspect.IntType: INTEGERS,
        inspect.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    }
    return plain[type(kind)]


def as_json(value: Any) -> Any:
    """A decoded frame as JSON shows it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def on_the_wire(message: Any) -> Any:
    """A message as a decoder that knows nothing of it sees it: lists, maps, bytes."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message))


# --- validators ------------------------------------------------------------------------------


def _msgpack(validator: Any, form: str, value: Any, _: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str | bytes) and isinstance(value, bytes) != (form == "bin"):
        yield jsonschema.ValidationError(f"{value!r} is no {form}")


_RAW = jsonschema.validators.extend(
    Draft202012Validator,
    {"x-msgpack": _msgpack},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("string", lambda _, value: isinstance(value, str | bytes)),
)
DOCUMENT = schema.document(contract())


@cache
def validator(name: str, *, raw: bool = False) -> Any:
    """Of one definition; `raw` looks at decoded msgpack and tells bytes from text, otherwise at JSON."""
    kind = _RAW if raw else Draft202012Validator
    return kind({"$ref": f"#/$defs/{name}", "$defs": DOCUMENT["$defs"]})


def is_base64(text: str) -> bool:
    """Whether a string is what the schema promises where bytes stand."""
    return base64.b64encode(base64.b64decode(text)).decode() == text
