"""Plain values come back as the very type they were; nothing else is ever made of bytes."""

from __future__ import annotations

import collections
import datetime
import enum
import io
import math
import struct
import sys
import uuid
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.errors import BadInput, CannotTravel
from crowdgrid.protocol.values import pack_value, unpack_value

ZONES = [
    None,
    datetime.UTC,
    datetime.timezone(datetime.timedelta(hours=-3, seconds=1), "here"),
    ZoneInfo("Europe/Paris"),
]
TEXT = st.text(st.characters(exclude_categories=()))  # halves of characters too
DATES = st.dates()
TIMES = st.builds(
    lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold),
    st.times(),
    st.sampled_from(ZONES),
    st.sampled_from([0, 1]),
)
MOMENTS = st.builds(datetime.datetime.combine, DATES, TIMES)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.binary(),
    st.binary().map(bytearray),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    DATES,
    TIMES,
    MOMENTS,
    st.timedeltas(),
    st.sampled_from([*ZONES, ..., Path("a/b"), np.float32(1.5), np.int64(-3), np.str_("é"), np.datetime64("2020-01")]),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers()),
)


def _hashable(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4)


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:  # a slice, or a number that signals it is none
        return False
    return True


KEYS: st.SearchStrategy[Any] = st.recursive(LEAVES.filter(_has_hash), _hashable, max_leaves=4)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.dictionaries(KEYS, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
        pairs,
        pairs.map(collections.OrderedDict),
        pairs.map(lambda x: collections.defaultdict(list, x)),
        pairs.map(lambda x: collections.defaultdict(None, x)),
        st.builds(collections.deque, st.lists(inner, max_size=5), st.none() | st.integers(5, 9)),
        st.dictionaries(KEYS, st.integers(), max_size=4).map(collections.Counter),
    )


VALUES = st.recursive(LEAVES, _containers, max_leaves=10)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types all the way down; not a number is itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float | np.floating):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, dict):
        more = (a.default_factory is b.default_factory) if isinstance(a, collections.defaultdict) else True
        return more and same_each(a, b) and same_each(a.values(), b.values())
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and same_each(sorted(a, key=pack_value), sorted(b, key=pack_value))
    if isinstance(a, datetime.datetime | datetime.time):
        return a.replace(fold=0) == b.replace(fold=0) and a.fold == b.fold and str(a.tzinfo) == str(b.tzinfo)
    if isinstance(a, collections.deque):
        return a.maxlen == b.maxlen and same_each(a, b)
    if isinstance(a, list | tuple):
        return same_each(a, b)
    return bool(a == b)


def same_each(a: Iterable[Any], b: Iterable[Any]) -> bool:
    left, right = list(a), list(b)
    return len(left) == len(right) and all(map(same, left, right))


@given(VALUES)
@example(2**64)
@example([2**63, -(2**63), 2**64 - 1, -(2**64)])
@example("\ud800")
@example({"\udcff": 1, 2**70: "\ud800"})
@example({(1, (2,)): {1}, frozenset(): ()})
@example([[], [[]], [()], {(): {}}])
@example((1,))
@example({-0.0: math.nan})
@example(collections.Counter({"a": -1, "b": 0}))
def test_values_come_back_as_they_were(value: Any) -> None:
    data = pack_value(value)
    assert same(unpack_value(data), value)
    assert pack_value(unpack_value(data)) == data


def deep(levels: int, hold: Any) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = hold(value)
    return value


@pytest.mark.parametrize("hold", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, lambda x: frozenset([x])])
def test_depth_has_a_limit(hold: Any) -> None:
    fits = deep(limits.VALUE_DEPTH, hold)
    assert unpack_value(pack_value(fits)) == fits
    with pytest.raises(CannotTravel, match=f"more than {limits.VALUE_DEPTH} containers in one another"):
        pack_value(deep(limits.VALUE_DEPTH + 1, hold))


def test_what_holds_itself_cannot_travel() -> None:
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(CannotTravel, match="or one that holds itself"):
        pack_value(value)


def test_what_is_shared_a_billion_times_cannot_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lists of ten lists of ten …: small here, endless when written out."""
    monkeypatch.setattr(limits, "VALUE_CONTAINERS", 10_000)
    value: Any = [0, ()]
    for _ in range(50):
        value = [value] * 10
    with pytest.raises(CannotTravel, match="more than 10,000 containers"):
        pack_value(value)


class Kind(enum.IntEnum):
    A = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "An argument of type object cannot travel."),
        ([1, {"a": (2, object())}], "An argument of type object cannot travel (at [1]['a'][1])."),
        (Kind.A, f"An argument of type {__name__}.Kind cannot travel."),
        ([True, Text("a")], f"An argument of type {__name__}.Text cannot travel (at [1])."),
        (len, "An argument of type builtin_function_or_method cannot travel."),
        (ValueError("a"), "An argument of type ValueError cannot travel."),
        (memoryview(b"a"), "An argument of type memoryview cannot travel."),
        (msgspec.msgpack.Ext(1, b"a"), "An argument of type msgspec.msgpack.Ext cannot travel."),
        (np.array([None]), "An argument of type numpy.ndarray cannot travel."),
        (np.zeros(1, [("a", "i4")]).view(np.recarray), "An argument of type numpy.rec.recarray cannot travel."),
        (np.ma.array([1]), "An argument of type numpy.ma.MaskedArray cannot travel."),
        (np.array([(1,)], dtype=[("é→", "i4")]), "An argument of type numpy.ndarray cannot travel."),
        (collections.defaultdict(lambda: 1), "An argument of type function cannot travel"),
        ({object()}, "An argument of type object cannot travel."),
        (collections.OrderedDict([(object, 1)]), "An argument of type type cannot travel."),
    ],
    ids=lambda x: type(x).__name__,
)
def test_other_things_cannot_travel(value: Any, said: str) -> None:
    with pytest.raises(CannotTravel) as info:
        pack_value(value, "An argument")
    assert info.value.message.startswith(said)
    assert info.value.hint


ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.arange(12, dtype=">i2").reshape(3, 4).T,
    np.zeros((0, 3), np.uint8),
    np.array(3 + 1j),
    np.array(["a", "bcd"]),
    np.array([b"a", b"\0b"]),
    np.array([(1, 2.5, "x")], dtype=[("a", "i4"), ("b", "<f8"), ("c", "U3")]),
    np.array(["2020-01-01", "NaT"], "M8[s]"),
    np.array([True, False]),
    np.arange(10)[::3],
    np.array([1, math.inf], np.float16),
    np.zeros((2, 0, 5), dtype="V3"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: array.dtype.str)
def test_arrays(array: np.ndarray[Any, Any]) -> None:
    """Type, shape and order are kept; the array is one's own to write to."""
    (found,) = unpack_value(pack_value((array,)))
    assert (type(found), found.dtype, found.shape) == (np.ndarray, array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.owndata
    assert found.flags.writeable
    if array.ndim == 2 and array.size and array.flags.f_contiguous:
        assert found.flags.f_contiguous


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(1.5),
        np.float32(math.nan),
        np.int8(-1),
        np.uint64(2**63),
        np.bool_(True),
        np.complex64(1j),
        np.str_("ü"),
        np.str_(""),
        np.bytes_(b""),
        np.bytes_(b"a"),
        np.datetime64("2020-01-01T01", "h"),
        np.timedelta64(3, "D"),
        np.longdouble("1.25"),
        np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i8")])[0],
    ],
    ids=lambda scalar: scalar.dtype.str,
)
def test_scalars(scalar: np.generic) -> None:
    found = unpack_value(pack_value(scalar))
    assert type(found) is type(scalar)
    assert found.dtype == scalar.dtype
    assert found.tobytes() == scalar.tobytes()


def test_equal_sets_are_equal_bytes() -> None:
    """Results are compared between nodes, each with hashes of its own."""
    words = [str(uuid.UUID(int=n)) for n in range(50)]
    assert pack_value({*words, 1, None, (2,)}) == pack_value({None, (2,), *reversed(words), 1})


def test_integers_keep_their_type_in_arrays_and_as_keys() -> None:
    value = {np.int64(1): np.arange(2), 1.0: True}
    found = unpack_value(pack_value(value))
    assert [type(key) for key in found] == [np.int64, float] or len(found) == 1


# --- hostile bytes ----------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\x7f\xff\xff\xff" * 20)
@example(b"\x91" * 5000)
@example(b"\xc7\x00\x28")  # a mark by itself
@example(b"\x92\x01\xc7\x00\x28")  # a mark that is not first
@example(b"\x81\xc7\x00\x28\x01")  # a mark as a key
@example(b"\x92\xc7\x00\x29\x90")  # a set of a list
@example(b"\x93\xc7\x00\x32\x01\x00")  # a fraction by zero
@example(b"\x93\xc7\x00\x32\xab1e999999999\x01")  # a fraction nobody could compute
@example(b"\xc7\x08\x05sNaN1234")
@example(b"\xc7\x03\x07../")
@example(b"\xc7\x07\x07America")  # a folder of time zones
@example(b"\xc7\x05\x15|O8\x00a")
@example(b"\xc7\x01\x04x")  # a complex number of one byte
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\x92\xc7\x00\x2e\xa6object")
def test_any_bytes_are_a_value_or_bad_input(data: bytes) -> None:
    before = set(sys.modules)
    try:
        unpack_value(data)
    except BadInput:
        pass
    grown = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert grown <= {"numpy", "tzdata"}


@given(VALUES, st.integers(0, 200), st.integers(0, 255))
def test_damaged_values_are_a_value_or_bad_input(value: Any, at: int, byte: int) -> None:
    data = bytearray(pack_value(value))
    data[at % len(data)] = byte
    try:
        unpack_value(bytes(data))
    except BadInput:
        pass


@given(st.sampled_from(ARRAYS), st.integers(0, 200), st.integers(0, 255))
def test_damaged_arrays_are_an_array_or_bad_input(array: np.ndarray[Any, Any], at: int, byte: int) -> None:
    data = bytearray(pack_value(array))
    data[at % len(data)] = byte
    try:
        unpack_value(bytes(data))
    except BadInput:
        pass


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: array.dtype.str)
def test_arrays_are_the_files_numpy_writes(array: np.ndarray[Any, Any]) -> None:
    """So that any reader of npy reads them, and those numpy wrote are read here."""
    packed: Any = msgspec.msgpack.decode(pack_value(array))
    told = np.load(io.BytesIO(packed.data))
    assert (told.dtype, told.shape, told.tobytes()) == (array.dtype, array.shape, array.tobytes())
    file = io.BytesIO()
    np.save(file, array)
    found = unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(20, file.getvalue())))
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("key", [b"America", b"x" * 300])
def test_a_time_zone_that_is_none_tells_nothing_of_this_machine(key: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(7, key)))
    assert "/" not in caught.value.message


def test_an_array_of_objects_is_never_read() -> None:
    """numpy would unpickle them."""
    header = b"\x93NUMPY\x01\x00\x36\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"
    data = header + b"\x80\x04N."
    for code in (20, 21):
        payload = data if code == 20 else b"\0" + data
        with pytest.raises(BadInput):
            unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, payload)))


def test_an_array_that_claims_more_than_it_has() -> None:
    header = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n"
    data = header + b" " * 6 + b"\0" * 8
    with pytest.raises(BadInput, match="packed value"):
        unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(20, data)))


@pytest.mark.parametrize("dtype", ["'|S0'", "'<U0'", "'|V0'", "[]", "[('a', '<f8', (0,))]"])
@pytest.mark.parametrize("shape", ["(4611686018427387904,)", "(1000000, 1000000, 1000)"])
def test_an_array_of_elements_without_bytes_is_refused(dtype: str, shape: str) -> None:
    """Any number of them fits into nothing, and copying them takes for ever, or memory without end."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    for code, payload in ((20, data), (21, b"\0" + data)):
        with pytest.raises(BadInput, match="no bytes"):
            unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, payload)))
    with pytest.raises(CannotTravel):
        pack_value(np.zeros(3, dtype=[]))


def test_a_header_can_be_read_in_one_way_only() -> None:
    """Else a few digits that end in nothing are tried in every way there is to cut them up."""
    data = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 1000 + b"x"
    with pytest.raises(BadInput):
        unpack_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(20, data)))


def test_a_large_fraction_comes_back_without_being_reduced_again() -> None:
    """It was reduced where it was made; to do it again takes the square of its length, for ever with hostile bytes."""
    value = Fraction(7**20_000, 2**50_000 + 1)
    found = unpack_value(pack_value(value))
    assert (type(found), found) == (Fraction, value)
    million = [(3 << 8_000_000) + more for more in (1, 5)]
    parts = [msgspec.msgpack.Ext(1, part.to_bytes(1_000_002, "little", signed=True)) for part in million]
    hostile = unpack_value(msgspec.msgpack.encode([msgspec.msgpack.Ext(50, b""), *parts]))
    assert [hostile.numerator, hostile.denominator] == million
    for below in (0, -million[0]):
        data = msgspec.msgpack.Ext(1, below.to_bytes(1_000_002, "little", signed=True))
        with pytest.raises(BadInput):
            unpack_value(msgspec.msgpack.encode([msgspec.msgpack.Ext(50, b""), parts[0], data]))


def test_no_mark_is_left_in_a_value() -> None:
    """msgpack allows a list as a key, which is read as a tuple."""
    for key in (b"\x92\xc7\x00\x28\x01", b"\x91\x92\xc7\x00\x28\x01"):
        with pytest.raises(BadInput, match="a mark is not the first of a list"):
            unpack_value(b"\x81" + key + b"\x02")


def test_plain_values_are_plain_msgpack() -> None:
    """A reader in another language needs nothing but msgpack for them."""
    value = [1, -5, 1.5, "é", b"\0", None, True, {"a": [1], 2: []}]
    assert msgspec.msgpack.decode(pack_value(value)) == value
    assert Fraction(1, 3) == unpack_value(pack_value(Fraction(1, 3)))
