"""What functions returned, as `protocol.values` packs it, compared leaf by leaf.

Two packed values are walked side by side, one token at a time. They have to be built the same way: the same
containers of the same sizes, the same types, keys in the same order, as they come from one and the same function.
Then only leaves may differ, and only these: integers, floats, complex numbers, decimals, numpy's scalars and arrays of
numbers. All else has to be the same bytes, texts with digits in them too, and what a date, a time, a range, a slice or
a fraction is made of: a year within the tolerance is another year. Types count (1 is not 1.0, nor numpy's 1.0): the
program that gets the answer may depend on them, and a stranger could break it so. For the same reason an array has
to be in a version of the format `protocol.arrays` reads. A key that is a number is a leaf like any other.

No value is made, so there is nothing to bound but the bytes: one counter of what is still to come takes the place of
a stack, and depth costs nothing.

https://github.com/msgpack/msgpack/blob/master/spec.md; the codes of extensions are those of `protocol.forms`, which
`core` may not import; a test holds them together.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Any, Final, NamedTuple

from crowdgrid import limits
from crowdgrid.core.trust.comparators import npy, text
from crowdgrid.core.trust.comparators.tolerance import Tolerance

INTEGER: Final = 1
COMPLEX: Final = 4
DECIMAL: Final = 5
ARRAY: Final = 20
SCALAR: Final = 21
TUPLE: Final = 40
EXACT: Final = frozenset(range(48, 56))
"""Marks of lists whose parts are no numbers by themselves: range, slice, fraction, date, time, datetime, timedelta,
timezone."""

_SCALAR_BYTES: Final = 4 + 1 + 16  # the longest: c16
_INTEGER_BYTES: Final = 2_000  # a larger one is the same only as itself; twice the bytes cost four times the time
_DECIMAL_TEXT: Final = re.compile(rb"-?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:E[+-]?+[0-9]++)?+")
_PARTS: Final = Struct("<dd").unpack
_FIXED: Final = {
    0xCA: Struct(">f"), 0xCB: Struct(">d"), 0xCC: Struct(">B"), 0xCD: Struct(">H"), 0xCE: Struct(">I"),
    0xCF: Struct(">Q"), 0xD0: Struct(">b"), 0xD1: Struct(">h"), 0xD2: Struct(">i"), 0xD3: Struct(">q"),
}  # fmt: skip
_SIZED: Final = {  # bytes of the length of: bytes, extensions, texts
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4,
}  # fmt: skip
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}  # bytes of the count, values for each


class NotPacked(Exception):
    """These bytes are no packed value."""


class Scalar(NamedTuple):
    """One of numpy's numbers: its kind without the byte order, its parts (two of a complex one, else one)."""

    kind: str
    parts: tuple[float, ...]


class Token(NamedTuple):
    """One piece of a packed value.

    Attributes:
        size: how many bytes it has. inside: how many values follow that are part of it.
        kind: what it is, if it may differ from another one of the same kind, by its `leaf`; "": only bytes count.
        leaf: an int or a float, the two parts of a complex number, a `Scalar`, a decimal's digits, an `npy.Array`.
        mark: the code of an empty extension, which may name the type of the list it is the first of; else −1.
        is_list: whether what follows is in a list.
    """

    size: int
    inside: int = 0
    kind: str = ""
    leaf: Any = None
    mark: int = -1
    is_list: bool = False


def agree(one: bytes, other: bytes, tolerance: Tolerance) -> bool:
    """Whether two packed values are close. Raises NotPacked when one of them is none, as far as they were read."""
    here = there = 0
    left = 1  # values to come
    exact_from = -1  # as long as at least that many are to come, bytes have to be the same
    outside = -1  # how many are to come after the list that was just begun
    while left:
        left -= 1
        if left < exact_from:
            exact_from = -1
        a = _SHORT.get(one[here : here + 1]) or token(one, here)
        b = _SHORT.get(other[there : there + 1]) or token(other, there)
        if a.mark in EXACT and outside >= 0 and exact_from < 0:
            exact_from = outside
        if one[here : here + a.size] != other[there : there + b.size] and (
            exact_from >= 0 or not a.kind or a.kind != b.kind or not _near(a.leaf, b.leaf, a.kind, tolerance)
        ):
            return False
        outside = left if a.is_list else -1
        left += a.inside
        here, there = here + a.size, there + b.size
    return here == len(one) and there == len(other)


def _near(one: Any, other: Any, kind: str, tolerance: Tolerance) -> bool:
    match kind:
        case "array":
            return npy.agree(one, other, tolerance)
        case "complex":
            return tolerance.near_complex(one, other)
        case "scalar":
            if one.kind != other.kind:
                return False
            near = tolerance.near_complex if one.kind[0] == "c" else tolerance.all_near
            return near(one.parts, other.parts)
        case "decimal":
            one, other = text.number(one), text.number(other)
            return one is not None and other is not None and tolerance.near(one, other)
        case _:
            return tolerance.near(one, other)


# --- msgpack -----------------------------------------------------------------------------------


def _fits(data: bytes, end: int) -> int:
    if end > len(data):
        raise NotPacked
    return end


def token(data: bytes, start: int) -> Token:
    """The piece of a packed value that begins at `start`. Raises NotPacked when it is cut short or none."""
    if start >= len(data):
        raise NotPacked
    first = data[start]
    at = start + 1
    if first <= 0x7F or first >= 0xE0:
        return Token(1, 0, "int", first if first <= 0x7F else first - 256)
    if first in _FIXED:
        form = _FIXED[first]
        _check_fits(data, at + form.size)
        return Token(1 + form.size, 0, "float" if first <= 0xCB else "int", form.unpack_from(data, at)[0])
    if first <= 0x9F:
        many = first & 0x0F
        return Token(1, many, is_list=True) if first >= 0x90 else Token(1, 2 * many)
    if first <= 0xBF:
        return _plain(data, start, at + (first & 0x1F))
    if first in _COUNTED:
        size, each = _COUNTED[first]
        _check_fits(data, at + size)
        return Token(1 + size, int.from_bytes(data[at : at + size]) * each, is_list=each == 1)
    if first in _SIZED:
        body = at + _SIZED[first]
        _check_fits(data, body)
        size = int.from_bytes(data[at:body])
        is_extension = 0xC7 <= first <= 0xC9
        return _extension(data, start, body, size) if is_extension else _plain(data, start, body + size)
    if 0xD4 <= first <= 0xD8:
        return _extension(data, start, at, 1 << (first - 0xD4))
    if first in (0xC0, 0xC2, 0xC3):
        return Token(1)
    raise NotPacked


def _check_fits(data: bytes, end: int) -> None:
    if end > len(data):
        raise NotPacked


def _plain(data: bytes, start: int, end: int) -> Token:
    _check_fits(data, end)
    return Token(end - start)


def _extension(data: bytes, start: int, at: int, size: int) -> Token:
    end = at + 1 + size
    _check_fits(data, end)
    code, body = data[at], memoryview(data)[at + 1 : end]
    if not size:
        return Token(end - start, mark=code)
    kind, leaf = _leaf(code, body)
    return Token(end - start, 0, kind, leaf)


def _leaf(code: int, body: memoryview) -> tuple[str, Any]:
    """What an extension is as a leaf that may differ; ("", None) when only its bytes count."""
    if code == INTEGER and len(body) <= _INTEGER_BYTES:
        return "int", int.from_bytes(body, "little", signed=True)
    if code == COMPLEX and len(body) == 16:
        return "complex", _PARTS(body)
    if code == DECIMAL and len(body) <= limits.NUMBER_CHARS and _DECIMAL_TEXT.fullmatch(body):
        return "decimal", bytes(body)
    if code == ARRAY and bytes(body[6:7]) != b"\3" and (array := npy.read(body)) is not None:
        return "array", array
    if code == SCALAR and (number := scalar(bytes(body[: _SCALAR_BYTES + 1]))) is not None:
        return "scalar", number
    return "", None


_SHORT: Final = {
    bytes([first]): token(bytes([first]), 0) for first in (*range(0xA1), 0xC0, 0xC2, 0xC3, *range(0xE0, 0x100))
}
"""The pieces of one byte, made once: it is cheap to send many of them."""


def scalar(body: bytes) -> Scalar | None:
    """The scalar in the body of its extension, or None: it is no number."""
    descr, _, raw = body.partition(b"\0")
    kind = npy.kind_of(descr)
    if kind is None or kind.size != len(raw) or kind.name == "b1":
        return None
    return Scalar(kind.name, npy.scalar(kind, raw))
