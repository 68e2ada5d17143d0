"""How a value of a type msgpack does not know is written, and made again: one line a type.

Two kinds of form. A *leaf* is one extension: its code names the type, its bytes are the value. A *marked list* is a
list whose first element is an empty extension that names the type; what follows is what the type is made of, which may
be formed again. So a tuple in a set in a list is written in one pass and nothing is copied twice. A dict whose keys
are all plain is a msgpack map; any other is a marked list of its keys and values, because a map's key cannot be a list.

Reading goes the same way back without recursion: marked lists are collected from the outside in and made from the
inside out. The tables are all that can be made: a code that is in neither is `BadInput`.
"""

from __future__ import annotations

import collections
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.msgpack import Ext

from crowdgrid import limits
from crowdgrid.protocol import arrays

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1
_COMPLEX: Final = struct.Struct("<dd")
_REDUCED_BITS: Final = 1 << 12  # a fraction of more is taken as it comes
_FACTORIES: Final = {
    kind.__name__: kind for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}  # what a defaultdict may make


class NotPlain(Exception):
    """`value` is no plain value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class TooDeep(Exception):
    """A value of too many containers; the message is the end of a sentence."""


# --- the tables -----------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """A type written as the bytes of one extension."""

    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


class Marked(NamedTuple):
    """A type written as a list: `parts` gives what it is made of, `make` makes it of them."""

    parts: Callable[[Any], Iterable[Any]]
    make: Callable[[list[Any]], Any]


def _write_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _read_int(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _clock(value: time | datetime) -> tuple[Any, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold


def _make_datetime(parts: list[Any]) -> datetime:
    year, month, day, hour, minute, second, microsecond, zone, fold = parts
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _make_time(parts: list[Any]) -> time:
    hour, minute, second, microsecond, zone, fold = parts
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _zone_parts(value: timezone) -> tuple[Any, ...]:
    return value.__getinitargs__()  # type: ignore[attr-defined,no-any-return] # (offset,) or (offset, name)


def _zone_key(value: ZoneInfo) -> bytes:
    if not value.key:
        raise NotPlain(value)  # read from a file, not by name
    return value.key.encode()


def _read_zone(data: bytes) -> ZoneInfo:
    try:
        return ZoneInfo(data.decode())
    except OSError:  # a folder of zones; its message names where they lie on this machine
        raise ValueError("a time zone is none") from None


def _read_complex(data: bytes) -> complex:
    if len(data) != _COMPLEX.size:
        raise ValueError("a complex number is not of its size")
    return complex(*_COMPLEX.unpack(data))


def _make_fraction(parts: list[Any]) -> Fraction:
    numerator, denominator = parts
    if type(numerator) is not int or type(denominator) is not int:  # "1e999999999" would be computed
        raise ValueError("a fraction is not of two integers")
    if min(numerator.bit_length(), denominator.bit_length()) <= _REDUCED_BITS:
        return Fraction(numerator, denominator)
    if denominator < 0:
        raise ValueError("a fraction has a negative denominator")
    made: Any = Fraction()  # it was reduced when it was made; to see whether it was takes the square of its length
    made._numerator, made._denominator = numerator, denominator
    return made  # type: ignore[no-any-return]


def _in_order(value: AbstractSet[Any]) -> list[Any]:
    """The elements of a set, in an order that depends on nothing but them."""
    if len(value) < 2:
        return list(value)
    kinds = set(map(type, value))
    if kinds <= {int, bool, float} or (len(kinds) == 1 and kinds <= {str, bytes}):
        return sorted(value)
    from crowdgrid.protocol.values import pack_value

    try:
        return sorted(value, key=pack_value)
    except Exception:  # noqa: BLE001 - forming it says what is wrong, and where
        return list(value)


def _pairs(value: dict[Any, Any]) -> Iterator[Any]:
    return chain.from_iterable(value.items())


def _make_dict(parts: list[Any]) -> dict[Any, Any]:
    return dict(_couples(parts))


def _couples(parts: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(parts) % 2:
        raise ValueError("a key has no value")
    return zip(parts[::2], parts[1::2])


def _default_parts(value: collections.defaultdict[Any, Any]) -> Iterator[Any]:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and _FACTORIES.get(name) is not factory:
        raise NotPlain(factory)
    return chain((name,), _pairs(value))


def _make_default(parts: list[Any]) -> collections.defaultdict[Any, Any]:
    name, *rest = parts
    factory = None if name is None else _FACTORIES[name]
    return collections.defaultdict(factory, _couples(rest))


def _make_counter(parts: list[Any]) -> collections.Counter[Any]:
    made: collections.Counter[Any] = collections.Counter()
    for key, count in _couples(parts):  # not through Counter(): it would count the pairs
        made[key] = count
    return made


_LEAVES: Final[dict[type, tuple[int, Leaf]]] = {
    int: (1, Leaf(_write_int, _read_int)),  # beyond 64 bits
    str: (2, Leaf(lambda x: x.encode("utf-8", "surrogatepass"), lambda b: b.decode("utf-8", "surrogatepass"))),
    bytearray: (3, Leaf(bytes, bytearray)),
    complex: (4, Leaf(lambda x: _COMPLEX.pack(x.real, x.imag), _read_complex)),
    Decimal: (5, Leaf(lambda x: str(x).encode(), lambda b: Decimal(b.decode()))),
    uuid.UUID: (6, Leaf(lambda x: x.bytes, lambda b: uuid.UUID(bytes=b))),
    ZoneInfo: (7, Leaf(_zone_key, _read_zone)),
    type(Path()): (
        8,
        Leaf(lambda x: str(x).encode("utf-8", "surrogatepass"), lambda b: Path(b.decode("utf-8", "surrogatepass"))),
    ),
    type(...): (9, Leaf(lambda x: b"", lambda b: ...)),
}
ARRAY: Final = 20
SCALAR: Final = 21

_MARKED: Final[dict[type, tuple[int, Marked]]] = {
    tuple: (40, Marked(lambda x: x, tuple)),
    set: (41, Marked(_in_order, set)),
    frozenset: (42, Marked(_in_order, frozenset)),
    dict: (43, Marked(_pairs, _make_dict)),
    collections.OrderedDict: (44, Marked(_pairs, lambda parts: collections.OrderedDict(_couples(parts)))),
    collections.Counter: (45, Marked(_pairs, _make_counter)),
    collections.defaultdict: (46, Marked(_default_parts, _make_default)),
    collections.deque: (47, Marked(lambda x: (x.maxlen, *x), lambda parts: collections.deque(parts[1:], parts[0]))),
    range: (48, Marked(lambda x: (x.start, x.stop, x.step), lambda parts: range(*parts))),
    slice: (49, Marked(lambda x: (x.start, x.stop, x.step), lambda parts: slice(*parts))),
    Fraction: (50, Marked(lambda x: (x.numerator, x.denominator), _make_fraction)),
    date: (51, Marked(lambda x: (x.year, x.month, x.day), lambda parts: date(*parts))),
    time: (52, Marked(_clock, _make_time)),
    datetime: (53, Marked(lambda x: (x.year, x.month, x.day, *_clock(x)), _make_datetime)),
    timedelta: (54, Marked(lambda x: (x.days, x.seconds, x.microseconds), lambda parts: timedelta(*parts))),
    timezone: (55, Marked(_zone_parts, lambda parts: timezone(*parts))),
}
_READ: Final = {code: leaf.read for code, leaf in _LEAVES.values()}


class _Mark:
    """Stands first in a marked list while it is read; never part of a value."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[list[Any]], Any]) -> None:
        self.make = make


_MARKS: Final = {code: _Mark(marked.make) for code, marked in _MARKED.values()}
_SIGNS: Final = {kind: Ext(code, b"") for kind, (code, _) in _MARKED.items()}
TUPLE: Final = _SIGNS[tuple]


_HOLDERS: Final = frozenset({list, dict})


# --- to write -------------------------------------------------------------------------------------


class Forming:
    """Forms one value; a new one for each, because it counts."""

    def __init__(self) -> None:
        self._left = limits.VALUE_CONTAINERS

    def form(self, value: Any, depth: int = 0) -> Any:
        """`value` as msgpack can write it. Raises NotPlain and TooDeep."""
        kind = type(value)
        if kind is int:
            return value if _INT_MIN <= value <= _INT_MAX else _leaf(value)
        if kind is str:
            return value if value.isascii() or not _is_broken(value) else _leaf(value)
        if kind in _PLAIN:
            return value
        if kind in _LEAVES:
            return _leaf(value)
        self._left -= 1
        if depth >= limits.VALUE_DEPTH:
            raise TooDeep(f"more than {limits.VALUE_DEPTH} containers in one another, or one that holds itself")
        if self._left < 0:
            raise TooDeep(f"more than {limits.VALUE_CONTAINERS:,} containers")
        deeper = depth + 1
        if kind is list:
            return [self.form(item, deeper) for item in value]
        if kind is dict and _PLAIN.issuperset(map(type, value)):
            keys = [self.form(key) for key in value]
            if not any(type(key) is Ext for key in keys):  # it is safe as it is
                return {key: self.form(item, deeper) for key, item in value.items()}
        if kind in _MARKED:
            return [_SIGNS[kind], *[self.form(part, deeper) for part in _MARKED[kind][1].parts(value)]]
        return _array(value, kind)


def _leaf(value: Any) -> Ext:
    code, leaf = _LEAVES[type(value)]
    return Ext(code, leaf.write(value))


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _array(value: Any, kind: type) -> Ext:
    if kind.__module__.partition(".")[0] == "numpy":
        try:
            if arrays.is_array(value):
                return Ext(ARRAY, arrays.write_array(value))
            if arrays.is_scalar(value):
                return Ext(SCALAR, arrays.write_scalar(value))
        except ValueError:  # a dtype that cannot be written
            pass
    raise NotPlain(value)


# --- to read --------------------------------------------------------------------------------------


def meet(code: int, data: memoryview) -> Any:
    """What an extension stands for: a leaf's value, or a mark.

    Raises:
        ValueError and others: it is none of ours, or not what it says it is. Unavailable: see `arrays`.
    """
    if code in _MARKS:
        return _MARKS[code]
    if code in _READ:
        return _READ[code](bytes(data))
    if code == ARRAY:
        return arrays.read_array(data)
    if code == SCALAR:
        return arrays.read_scalar(data)
    raise ValueError(f"extension {code} is not known")


def rebuild(read: Any) -> Any:
    """The value of what was read with `meet`: each marked list becomes what its mark says.

    Raises:
        ValueError, TypeError, ArithmeticError: it is no value.
    """
    root = [read]
    order: list[tuple[Any, Any, Any]] = [(root, 0, read)]  # (holder, its key, container), from the outside in
    marks = type(read) is _Mark
    for _, _, inside in order:
        if type(inside) is list:
            marks |= any(type(item) is _Mark for item in inside[1:])
            order += [(inside, at, item) for at, item in enumerate(inside) if type(item) in _HOLDERS]
        elif type(inside) is dict:
            marks |= any(type(item) is _Mark for item in chain(inside, inside.values()))
            marks |= any(type(key) is tuple for key in inside)  # what is in it nobody looks at; none is written so
            order += [(inside, key, item) for key, item in inside.items() if type(item) in _HOLDERS]
    if marks:
        raise ValueError("a mark is not the first of a list")
    for holder, key, inside in reversed(order):
        if type(inside) is list and inside and type(inside[0]) is _Mark:
            holder[key] = inside[0].make(inside[1:])
    return root[0]


# --- to say what cannot -----------------------------------------------------------------------------


def type_name(value: Any) -> str:
    """A value's type, for people: "Foo", "numpy.matrix"."""
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module in {"builtins", "__main__"} else f"{module}.{kind.__qualname__}"


def with_article(name: str) -> str:
    """A type's name in a sentence: "a socket.socket", "an int"."""
    return f"{'an' if name.lstrip('_')[:1].lower() in 'aeio' else 'a'} {name}"


def place_of(offender: Any, value: Any) -> str:
    """Where `offender` is in `value`, as the end of a sentence: " (at [2]['lock'])"; empty when it is `value`."""
    todo: collections.deque[tuple[str, Any, int]] = collections.deque([("", value, 0)])
    seen = 0
    while todo and seen < limits.PAGE_ROWS:
        place, inside, depth = todo.popleft()
        seen += 1
        if inside is offender:
            return f" (at {place})" if place else ""
        if depth > limits.VALUE_DEPTH:
            continue
        if isinstance(inside, dict):
            todo.extend((f"{place}[{key!r:.40}]", x, depth + 1) for key, x in inside.items())
        elif type(inside) in {list, tuple, collections.deque}:
            todo.extend((f"{place}[{at}]", x, depth + 1) for at, x in enumerate(inside))
    return ""


def hint_for(offender: Any) -> str:
    """What to do about a value that cannot travel."""
    if callable(offender):
        return "Functions and classes travel inside a function that uses them, not as arguments or results."
    if arrays.is_array(offender):
        return "Arrays of Python objects do not travel; use a dtype of numbers or text, or a list."
    return (
        "Send what it is made of: numbers, text, lists, dicts, arrays. On a grid of your own, "
        'codec="pickle" carries objects too.'
    )
