"""One example of everything, made from the types: the same on every machine, so that it can be published.

What recurs has an example a person can read; the rest is made of its name or counted. A value is never a field's
default, so that a field put in the wrong place does not go unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from crowdgrid.ids import did_of
from crowdgrid.protocol.contract.shapes import Field, Shape, Type, members, shape_of

_KEY: Final = bytes(range(32))
_DIGEST: Final = hashlib.sha256(b"crowdgrid").hexdigest()
_JOB: Final = "jabcdefghijklmnopqrstuvwxyz"
_KNOWN: Final[dict[str, Any]] = {
    "args": "--fast",
    "assignment": bytes(range(16)),
    "assignments": bytes(range(16)),
    "blob": _DIGEST,
    "challenge": _KEY,
    "code": "not_found",
    "created_at": 1_750_000_000_000,
    "digest": bytes.fromhex(_DIGEST),
    "ended_at": 1_750_000_060_000,
    "after": 41,
    "grid": bytes(range(16, 32)),
    "held": bytes(range(16)),
    "id": 7,
    "job": _JOB,
    "key": _KEY,
    "labels": "gpu",
    "leaves": _KEY,
    "node": did_of(_KEY),
    "nonce": _KEY,
    "parent": bytes(range(16)),
    "payload": b"42",
    "program": _DIGEST,
    "reason": "Its owner said so.",
    "rows": 500,
    "runtime": "echo",
    "runtimes": "wasm",
    "sent": 1_234,
    "signature": bytes(range(64)),
    "start": 0,
    "state": "sealed",
    "stop": (1 << 63) - 1,
    "tails_blob": _DIGEST,
    "version": 1,
    "window": 500,
}


def full(shape: Shape, choice: int = 0) -> msgspec.Struct:
    """A struct in which every field has a value; `choice` picks the member of each union inside."""
    return shape.cls(**{field.name: _value(field.type, field, choice) for field in shape.fields})


def each(shape: Shape) -> Iterator[msgspec.Struct]:
    """`full` of every choice there is, each different one once."""
    seen = set()
    for choice in range(_width(shape)):
        made = full(shape, choice)
        frame = msgspec.msgpack.encode(made)
        if frame not in seen:
            seen.add(frame)
            yield made


def _width(shape: Shape) -> int:
    """How many members the widest union below has."""
    return max([_width_of(field.type) for field in shape.fields], default=1)


def _width_of(kind: Type) -> int:
    match kind:
        case inspect.UnionType():
            return len(members(kind))
        case inspect.StructType():
            return _width(shape_of(kind))
        case inspect.VarTupleType():
            return _width_of(kind.item_type)
    return 1


def _value(kind: Type, field: Field, choice: int) -> Any:
    match kind:
        case inspect.StructType():
            return full(shape_of(kind), choice)
        case inspect.UnionType():
            within = members(kind)
            return _value(within[choice % len(within)], field, choice)
        case inspect.EnumType():
            return list(kind.cls)[1]
        case inspect.VarTupleType():
            return (_value(kind.item_type, field, choice),)
        case inspect.TupleType():
            return tuple(_value(item, field, choice) for item in kind.item_types)
        case inspect.DictType():
            return {"cores": 8, "model": "a laptop"}
    return _plain(kind, field)


def _plain(kind: Type, field: Field) -> Any:
    known = _KNOWN.get(field.name)
    match kind:
        case inspect.BytesType():
            return known if isinstance(known, bytes) else field.name.encode()
        case inspect.StrType():
            return known if isinstance(known, str) else field.name.replace("_", " ")
        case inspect.BoolType():
            return field.default is not True
        case inspect.FloatType():
            return 2.5
        case inspect.IntType():
            return known if isinstance(known, int) else 7 + sum(field.name.encode()) % 500
        case _:
            raise AssertionError(f"{field.name}: there is no example of {kind!r}")
