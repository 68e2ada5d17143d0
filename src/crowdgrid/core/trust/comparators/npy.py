"""Arrays in numpy's format, read and compared without numpy: a hub need not have it, and the engine may not.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0, 2.0 and 3.0: the magic, the
version, the length of the header, the header (a Python literal of three keys, read with patterns and never evaluated),
the elements. Elements are numbers: bool, integers of 1 to 8 bytes, floats of 2, 4 and 8, complex ones of 8 and 16, in
either byte order. No objects, so no pickles; no texts, dates and records, whose bytes have to be the same.

Invariants: nothing is allocated on the word of a header, the bytes have to be there; elements are read in blocks, so
that memory does not grow with the array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice, product
from math import prod
from struct import Struct
from typing import Final, NamedTuple

from crowdgrid import limits
from crowdgrid.core.trust.comparators.tolerance import Tolerance

MAGIC: Final = b"\x93NUMPY"
_BLOCK: Final = 4096  # elements
_LENGTH_BYTES: Final = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}  # of the header's length, by version
_ENTRY: Final = re.compile(
    rb" *+'(descr|fortran_order|shape)' *+: *+(?:'([<>|][a-z][0-9]{1,2})'|(True|False)|\(([0-9, ]*+)\)) *+(,?)"
)
_END: Final = re.compile(rb" *+\} *+\n?+")
_AXIS: Final = re.compile(rb"0|[1-9][0-9]{0,18}")  # Python has no 01
_CODES: Final = {
    "b1": "B", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d", "c8": "ff", "c16": "dd",
}  # fmt: skip


class Kind(NamedTuple):
    """A type of elements: `name` as in numpy without the byte order, such as "f8"; `order` is "<" or ">"."""

    name: str
    order: str

    @property
    def code(self) -> str:
        """Of one element, for `struct`."""
        return _CODES[self.name]

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return int(self.name[1:])


class Array(NamedTuple):
    """An array as it lies in `data`; its bytes are as many as its shape says."""

    kind: Kind
    fortran: bool
    shape: tuple[int, ...]
    data: memoryview


def kind_of(descr: bytes) -> Kind | None:
    """The kind numpy describes so, or None: no number, or not one that is read here."""
    name, order = descr[1:].decode("ascii", "replace"), descr[:1].decode("ascii", "replace")
    if name not in _CODES or order not in ("<", ">", "|") or (order == "|") > (name[1:] == "1"):
        return None
    return Kind(name, "<" if order == "|" else order)


def read(data: bytes | memoryview) -> Array | None:
    """The array in `data`, or None: it is no npy of numbers, or too short or long for its shape."""
    view = memoryview(data)
    head = bytes(view[: len(MAGIC) + 6])
    count = _LENGTH_BYTES.get(head[6:8])
    if head[:6] != MAGIC or count is None or len(head) < 8 + count:
        return None
    length = int.from_bytes(head[8 : 8 + count], "little")
    if not 0 < length <= limits.ARRAY_HEADER_BYTES:
        return None
    text = bytes(view[8 + count : 8 + count + length])
    fields = _fields(text) if len(text) == length else None
    if fields is None:
        return None
    kind, shape = kind_of(fields[0]), _shape(fields[2])
    elements = view[8 + count + length :]
    if kind is None or shape is None or prod(shape) * kind.size != len(elements):
        return None
    return Array(kind, fields[1] == b"True", shape, elements)


def agree(one: Array, other: Array, tolerance: Tolerance) -> bool:
    """Whether two arrays are close, element by element.

    Kind and shape have to be the same; byte order, and whether rows or columns lie together in memory, need not.
    Bools have to be equal.
    """
    if one.kind.name != other.kind.name or one.shape != other.shape:
        return False
    if not one.data:
        return True
    as_they_lie = one.fortran == other.fortran or sum(axis > 1 for axis in one.shape) < 2
    return all(_near(a, b, one.kind, tolerance) for a, b in zip(_blocks(one, as_they_lie), _blocks(other, as_they_lie)))


def numbers(array: Array) -> list[float]:
    """The elements of a small array of integers or floats in C order."""
    return [number for block in _blocks(array, as_it_lies=False) for number in block]


def scalar(kind: Kind, data: bytes) -> tuple[float, ...]:
    """The parts of one element: two of a complex one, else one. `data` has the kind's size."""
    return Struct(kind.order + kind.code).unpack(data)


# --- the header ------------------------------------------------------------------------------


def _fields(text: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(descr, fortran_order, shape) as written, from a header with just these three keys in any order."""
    found: dict[bytes, bytes] = {}
    at, more = 1, True
    while text[:1] == b"{" and more and (entry := _ENTRY.match(text, at)) is not None and len(found) < 3:
        key, value = entry[1], entry[(b"descr", b"fortran_order", b"shape").index(entry[1]) + 2]
        if value is None or key in found:
            return None
        found[key] = value
        at, more = entry.end(), entry[5] == b","
    if len(found) < 3 or _END.fullmatch(text, at) is None:
        return None
    return found[b"descr"], found[b"fortran_order"], found[b"shape"]


def _shape(text: bytes) -> tuple[int, ...] | None:
    """The tuple of integers in these parentheses."""
    parts = [part.strip() for part in text.split(b",")]
    if parts[-1]:
        if len(parts) == 1:
            return None  # (5) is a number
    else:
        parts.pop()
    if len(parts) > limits.ARRAY_AXES or not all(map(_AXIS.fullmatch, parts)):
        return None
    return tuple(map(int, parts))


# --- the elements ----------------------------------------------------------------------------


def _blocks(array: Array, as_it_lies: bool) -> Iterator[tuple[float, ...]]:
    """The numbers of some thousand elements at a time, in the order of memory or in C order."""
    order, code, size = array.kind.order, array.kind.code, array.kind.size
    if as_it_lies or not array.fortran:
        for at in range(0, len(array.data), _BLOCK * size):
            part = array.data[at : at + _BLOCK * size]
            yield Struct(f"{order}{len(part) // size * len(code)}{code[0]}").unpack(part)
        return
    one = Struct(order + code).unpack_from
    places = _places(array.shape, size)
    while places_of_block := tuple(islice(places, _BLOCK)):
        yield tuple(chain.from_iterable(one(array.data, place) for place in places_of_block))


def _places(shape: tuple[int, ...], size: int) -> Iterator[int]:
    """Where the elements of an array in Fortran order begin, taken in C order. No axis is 0."""
    axes, step = [], size
    for axis in shape:
        if axis > 1:
            axes.append(range(0, axis * step, step))
        step *= axis
    return map(sum, product(*axes))


def _near(ones: tuple[float, ...], others: tuple[float, ...], kind: Kind, tolerance: Tolerance) -> bool:
    if ones == others:
        return True
    if kind.name[0] == "b":
        return False
    if kind.name[0] == "c":
        return all(tolerance.near_complex(ones[at : at + 2], others[at : at + 2]) for at in range(0, len(ones), 2))
    return tolerance.all_near(ones, others)
