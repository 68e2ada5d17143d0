"""Numbers within a tolerance in text, in arrays and in what functions returned; everything else is the same."""

from __future__ import annotations

import datetime
import io
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.trust.comparators import Content, leaves, npy
from crowdgrid.core.trust.comparators.numeric import Numeric
from crowdgrid.protocol import forms
from crowdgrid.protocol.values import pack_value, unpack_value

CLOSE = Numeric(rtol=1e-6, atol=1e-9)
STRICT = Numeric(rtol=0.0, atol=0.0)


def printed(one: str | bytes, other: str | bytes, how: Numeric = CLOSE) -> bool:
    a, b = (text.encode() if isinstance(text, str) else text for text in (one, other))
    forward = how.agree(a, b, Content.OUTPUT)
    assert forward == how.agree(b, a, Content.OUTPUT)
    return forward


def returned(one: Any, other: Any, how: Numeric = CLOSE) -> bool:
    a, b = pack_value(one), pack_value(other)
    forward = how.agree(a, b, Content.VALUE)
    assert forward == how.agree(b, a, Content.VALUE)
    return forward


def saved(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version=version, allow_pickle=False)
    return buffer.getvalue()


def fortran(array: Any) -> Any:
    return np.array(array, order="F")


# --- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.14159265", "3.14159266"),
        ("x = 1.0, y = -2.5e3;\n", "x = 1.0000001, y = -2500.0;\n"),
        ("1e3", "1000"),
        ("+5", "+5.0"),
        ("+1e-10", "-1e-10"),
        (".5", "00.5"),
        ("5. 6.", "5. 6."),
        ("It is 2.5.", "It is 2.5000001."),
        ("(1,2)[3] 50% {4}", "(1.0,2.0)[3.0] 50.0% {4.0}"),
        ("  9.999999\n", " 10.000000\n"),  # padded columns
        ("9.9999999 m\n", "10.00000 \tm\n"),
        ("nan", "-NaN"),
        ("inf -Infinity", "Infinity -inf"),
        ("0.0", "-0.0"),
        ("0", "1e-10"),
        ("1e-400", "0"),
        ("0.5±0.1", "0.50000001±0.1"),
        (b"\xff 1 \xfe", b"\xff 1.0 \xfe"),
        ("9007199254740993", "9007199254740992"),
    ],
)
def test_texts_that_are_the_same_but_for_rounding(one: str | bytes, other: str | bytes) -> None:
    assert printed(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0", "1.1"),
        ("1", "-1"),
        ("1", ""),
        ("1", "1 1"),
        ("1 1", "1\n1"),
        ("1\n", "1"),
        ("a 1", "b 1"),
        ("a 1", " a 1"),  # blanks count where no number is
        ("1 a", "1 a "),
        ("nan", "1"),
        ("nan", "inf"),
        ("inf", "-inf"),
        ("inf", "1e308"),
        ("inf", "1e999"),  # nothing finite passes for ∞
        ("1e999", "2e999"),
        ("1e999999999", "1e999999998"),
        ("None", "0"),
        ('{"x": 1.0}', '{"x": 1.}'),  # what JSON cannot say would break what reads it
        ('{"x": 0.5}', '{"x": .5}'),
        ('{"x": 1.0}', '{"x": +1.0}'),
        ('{"x": 1.0}', '{"x": 01.0}'),
        ("1.0D+02", "100"),
    ],
)
def test_texts_that_differ(one: str | bytes, other: str | bytes) -> None:
    assert not printed(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x1", "x2"),
        ("3s", "4s"),
        ("1.2.3", "1.2.4"),
        ("2026-01-31", "2026-01-30"),
        ("a3f9c2", "a3f8c2"),
        ("0x10", "0x11"),
        ("1_000", "1_001"),
        ("12e5ab", "120e4ab"),
        ("1+2j", "1+3j"),
    ],
)
def test_digits_inside_of_words_are_text(one: str, other: str) -> None:
    """A digest, a version or a date within the tolerance would be another one."""
    assert not printed(one, other, Numeric(rtol=0.9, atol=1e9))


def test_long_numbers_are_exact_up_to_a_limit() -> None:
    assert printed(str(10**3000), str(10**3000 + 10**2900))
    assert not printed(str(10**3000), str(10**3000 + 10**2998))
    assert not printed(str(10**400), "1e308")
    assert not printed("1" * limits.NUMBER_CHARS + "1", "1" * limits.NUMBER_CHARS + "2")


def test_with_no_tolerance_numbers_may_be_spelled_differently_but_not_differ() -> None:
    assert printed("1e3 2.50", "1000 2.5", STRICT)
    assert not printed("9007199254740993", "9007199254740992", STRICT)
    assert not printed("1.0", "1.0000000000000002", STRICT)


@given(st.lists(st.floats(allow_nan=True), max_size=8), st.floats(-1e-7, 1e-7))
def test_what_is_printed_of_rounded_floats_agrees(values: list[float], by: float) -> None:
    other = [value * (1 + by) if abs(value) < 1e300 else value for value in values]
    assert printed("\n".join(map(repr, values)), "\n".join(map(repr, other)))


@given(st.lists(st.floats() | st.integers(), min_size=2, max_size=2), st.floats(0, 0.99), st.floats(0, 1e300))
def test_text_and_value_are_close_by_the_same_rule_and_symmetric(pair: list[float], rtol: float, atol: float) -> None:
    """For floats, the rule of PEP 485; who is compared with whom does not matter."""
    one, other = map(float, pair) if not all(type(x) is int for x in pair) else pair
    how = Numeric(rtol, atol)
    assert printed(repr(one), repr(other), how) == returned(one, other, how)
    if type(one) is float:
        both_nan = math.isnan(one) and math.isnan(other)
        assert returned(one, other, how) == (both_nan or math.isclose(one, other, rel_tol=rtol, abs_tol=atol))


@given(st.binary(max_size=60) | st.text("0123456789.eE+-naif \n", max_size=40).map(str.encode), st.data())
def test_any_text_can_be_compared(one: bytes, data: st.DataObject) -> None:
    other = data.draw(st.binary(max_size=60) | st.just(one) | st.just(one + b" 1") | st.just(one[1:]))
    agreed = printed(one, other)
    assert agreed or one != other or one.startswith(npy.MAGIC)  # equal bytes are not asked here, see `same`


@pytest.mark.parametrize("piece", ["1", "1.", "-", "1e", "1e1", "e", ".1", "nan", "+1 ", " ", "\t1", "1e1.", "inf"])
def test_no_text_takes_more_than_a_look_at_each_byte(piece: str) -> None:
    """A pattern that tries all ways to cut a run up would not come back from these within the test's time."""
    long = piece * (1_000_000 // len(piece))
    assert not printed(long + "x", long + "y", STRICT)


# --- arrays ----------------------------------------------------------------------------------

ARRAYS = [
    np.array([1.0, -2.5, np.nan, np.inf]),
    np.arange(24, dtype="<f4").reshape(2, 3, 4),
    np.arange(6, dtype="f2").reshape(3, 2),
    np.array([[1 + 2j, 3], [np.nan, 1e-3]], dtype="c16"),
    np.arange(-5, 5, dtype="c8"),
    np.arange(12, dtype="i8").reshape(3, 4) * 10**17,
    np.arange(7, dtype="u1"),
    np.array([[True, False]]),
    np.array(3.5),
    np.zeros((0, 3)),
    np.zeros((1, 5, 1)),
    np.arange(10_000, dtype="i2").reshape(100, 100),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_an_array_is_the_same_in_either_byte_order_and_layout(array: Any, version: tuple[int, int]) -> None:
    one = saved(array, version)
    other = saved(fortran(array.astype(array.dtype.newbyteorder(">"))))
    assert printed(one, one)
    assert printed(one, other, STRICT)
    assert returned(array, fortran(array), STRICT)


@pytest.mark.parametrize("array", [a for a in ARRAYS if a.dtype.kind in "fc" and a.size], ids=lambda a: f"{a.dtype}")
def test_one_element_that_differs_is_found(array: Any) -> None:
    """In the first place and the last, in either layout; and not where it is within the tolerance."""
    loose = Numeric(rtol=1e-2, atol=1e-2)
    for at in (0, array.size - 1):
        changed, nearly = array.copy(), array.copy()
        changed.flat[at] = 5.5 if np.isfinite(array.flat[at]) else 0
        nearly.flat[at] = array.flat[at] * 1.001
        for other in (changed, fortran(changed)):
            assert not printed(saved(array), saved(other), loose)
            assert not returned(array, other, loose)
        assert printed(saved(array), saved(fortran(nearly)), loose)


def test_the_order_of_elements_counts() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert not printed(saved(array), saved(array.reshape(3, 2)))
    assert not printed(saved(array), saved(array.T.reshape(2, 3)))
    assert not printed(saved(array), saved(fortran(array[::-1])))
    assert not printed(saved(array), saved(array.astype("f4")))
    assert not printed(saved(array), "0 1 2 3 4 5")


def test_large_integers_are_not_rounded() -> None:
    one = np.array([2**62, 1], dtype="i8")
    assert not printed(saved(one), saved(one + 1), STRICT)
    assert printed(saved(one), saved(one + np.array([1, 0])), Numeric(0, 1.0))
    assert not printed(saved(one.astype("u8")), saved(one.astype("u8") + np.uint64(1)), STRICT)


@pytest.mark.parametrize("dtype", ["U3", "S3", "M8[s]", "m8[s]", "V4", "f8,i4", "g"])
def test_what_is_no_array_of_numbers_agrees_with_the_same_bytes_only(dtype: str) -> None:
    array = saved(np.zeros(2, dtype))
    assert npy.read(array) is None
    assert "no array of numbers" in CLOSE.problem(array, Content.OUTPUT)
    assert not printed(array, array[:-1] + b"\1")
    assert returned({"a": np.zeros(2, dtype)}, {"a": np.zeros(2, dtype)})


def changed(data: bytes, draw: st.DataObject) -> bytes:
    """With one byte replaced, left out or put in."""
    at = draw.draw(st.integers(0, len(data) - 1))
    new = draw.draw(st.sampled_from([b"", data[at : at + 1] + b" "]) | st.binary(min_size=1, max_size=1))
    return data[:at] + new + data[at + 1 :]


@given(st.sampled_from([a for a in ARRAYS if a.size < 10]), st.data())
def test_an_array_that_agrees_can_be_read_by_numpy(array: Any, data: st.DataObject) -> None:
    """A liar that keeps the numbers and spoils the header must not agree."""
    whole = saved(array)
    other = changed(whole, data)
    if printed(whole, other, Numeric(0.5, 1e9)):
        assert np.load(io.BytesIO(other)).shape == array.shape
    assert not returned_raw(array, saved(array, (3, 0)))


def returned_raw(array: Any, npy_bytes: bytes) -> bool:
    other = msgspec.msgpack.encode(msgspec.msgpack.Ext(forms.ARRAY, npy_bytes))
    return CLOSE.agree(pack_value(array), other, Content.VALUE)


def header(text: bytes, data: bytes = b"", version: bytes = b"\1\0", length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return npy.MAGIC + version + size.to_bytes(2 if version == b"\1\0" else 4, "little") + text + data


GOOD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n"


def test_headers_numpy_reads_are_read() -> None:
    for text in (GOOD, b"{'shape':(1,),'descr':'<f8','fortran_order':True}", GOOD.replace(b"(1,)", b"(1, 1, )")):
        found = npy.read(header(text, bytes(8)))
        assert found is not None
        assert np.load(io.BytesIO(header(text, bytes(8)))).shape == found.shape


@pytest.mark.parametrize(
    "data",
    [
        b"",
        npy.MAGIC,
        npy.MAGIC + b"\1\0",
        npy.MAGIC + b"\1\0\xff",
        header(GOOD),
        header(GOOD, bytes(7)),
        header(GOOD, bytes(9)),
        header(GOOD, bytes(8), version=b"\4\0"),
        header(GOOD, bytes(8), version=b"\2\0", length=1 << 31),
        header(GOOD, bytes(8), length=0),
        header(GOOD[:-3], bytes(8)),
        header(b"{}", bytes(8)),
        header(GOOD + b"x", bytes(8)),
        header(GOOD.replace(b"}", b"'shape': (1,)}"), bytes(8)),
        header(GOOD.replace(b"'descr'", b"'shape'"), bytes(8)),
        header(GOOD.replace(b"False", b"0"), bytes(8)),
        header(GOOD.replace(b"False", b"(1,)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(1)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(,)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(1,,1)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(01,)"), bytes(8)),
        header(GOOD.replace(b" ", b"\x0b"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(-1,-1)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(1 1,)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(" + b"1," * 65 + b")"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(" + b"9" * 500 + b",)"), bytes(8)),
        header(GOOD.replace(b"(1,)", b"(" + b"1," * 6000 + b")"), bytes(8)),
        header(GOOD.replace(b"<f8", b"|O"), bytes(8)),
        header(GOOD.replace(b"<f8", b"O8"), bytes(8)),
        header(GOOD.replace(b"<f8", b"<f0"), bytes(8)),
        header(GOOD.replace(b"<f8", b"=f8"), bytes(8)),
        header(GOOD.replace(b"<f8", b"|f8"), bytes(8)),
        header(GOOD.replace(b"'<f8'", b"[('a', '<f8')]"), bytes(8)),
        header(GOOD.replace(b"'<f8'", b"__import__('os')"), bytes(8)),
        header(b"(" * 9000, bytes(8)),
    ],
)
def test_headers_that_are_none_are_not_read(data: bytes) -> None:
    assert npy.read(data) is None
    assert not printed(data, header(GOOD, bytes(8)))


def test_an_enormous_axis_beside_an_empty_one_costs_nothing() -> None:
    text = b"{'descr': '<f8', 'fortran_order': %s, 'shape': (9999999999999999999, 0, 9999999999999999999), }"
    assert printed(header(text % b"True"), header(text % b"False"))


@given(st.binary(max_size=40), st.integers(0, 100))
def test_any_bytes_can_be_tried_as_an_array(noise: bytes, at: int) -> None:
    whole = saved(np.arange(4.0))
    for data in (noise, npy.MAGIC + noise, whole[:at] + noise + whole[at + len(noise) :]):
        found = npy.read(data)
        assert found is None or math.prod(found.shape) * found.kind.size == len(found.data)
        printed(data, whole)


# --- what functions returned -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.0000001),
        (10**9, 10**9 + 1),
        (10**30, 10**30 + 1),
        (1 + 2j, 1 + 2.0000001j),
        (complex(1, 1e-17), complex(1, 0)),
        (Decimal("0.1"), Decimal("0.10000000001")),
        ([1.0, "a", None, {"x": 2.0}], [1.0000001, "a", None, {"x": 2.0000001}]),
        ((1.0, (2.0, [3.0])), (1.0, (2.0, [3.0000001]))),
        ({(1, 2): 3.0}, {(1, 2): 3.0000001}),
        ({1.5, 2.5}, {1.5, 2.5000001}),
        (np.float64(1.0), np.float64(1.0000001)),
        (np.float32(1.0), np.float32(1.0)),
        (np.complex128(1 + 1j), np.complex128(1 + 1.0000001j)),
        (np.int32(10**9), np.int32(10**9 + 1)),
        (math.nan, -math.nan),
        ([math.inf, -math.inf, math.nan], [math.inf, -math.inf, -math.nan]),
        ({"loss": np.arange(3.0), "n": 5}, {"loss": np.arange(3.0) * 1.0000001, "n": 5}),
        ([datetime.date(2026, 1, 31), 1.0], [datetime.date(2026, 1, 31), 1.0000001]),
    ],
)
def test_values_that_are_the_same_but_for_rounding(one: Any, other: Any) -> None:
    assert returned(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.1),
        (1.0, 1),
        (1, True),
        (None, 0),
        (1.0, np.float64(1.0)),
        (np.float32(1.0), np.float64(1.0)),
        (1.0, Decimal(1)),
        ("1.0", "1.0000001"),
        (b"1.0", b"1.0000001"),
        ([1.0], (1.0,)),
        ([1.0], [1.0, 1.0]),
        ([[1.0], 2.0], [[1.0, 2.0]]),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, ["a", 1.0]),
        (Decimal("NaN"), Decimal(1)),
        (Decimal("Infinity"), Decimal("1e400")),
        (math.nan, 1.0),
        (math.inf, -math.inf),
        (complex(math.nan, 1), complex(math.nan, 2)),
        (complex(1.5e308, 1.5e308), complex(-1.5e308, -1.5e308)),
        (np.arange(3.0), [0.0, 1.0, 2.0]),
        (np.bool_(True), np.bool_(False)),
    ],
)
def test_values_that_differ(one: Any, other: Any) -> None:
    assert not returned(one, other)
    assert not returned([7, one], [7, other])


def test_an_enormous_integer_is_the_same_only_as_itself() -> None:
    assert returned(1 << 40_000, 1 << 40_000)
    assert not returned(1 << 40_000, (1 << 40_000) + 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (datetime.date(2026, 1, 30), datetime.date(2026, 1, 31)),
        (datetime.time(1, 2, 3), datetime.time(1, 2, 4)),
        (datetime.timedelta(5), datetime.timedelta(6)),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        (datetime.timezone(datetime.timedelta(hours=1)), datetime.timezone(datetime.timedelta(hours=2))),
        (range(10), range(11)),
        (slice(1.0, 2.0), slice(1.0, 2.5)),
        (Fraction(1, 3), Fraction(1, 4)),
    ],
)
def test_dates_ranges_and_fractions_are_no_numbers(one: Any, other: Any) -> None:
    """Their parts are not: a year within the tolerance is another year. What comes after them is compared as ever."""
    loose = Numeric(rtol=0.9, atol=100.0)
    assert not returned(one, other, loose)
    assert not returned([1.0, [one], 2.0], [1.0, [other], 2.0], loose)
    assert returned([1.0, (one, 2.0), 3.0], [2.0, (one, 3.0), 4.0], loose)
    assert not returned([one, other], [one, one], loose)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.dates() | st.decimals(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner)
        ),
        max_leaves=12,
    ),
    st.data(),
)
def test_values_are_walked_whole_and_symmetric(value: Any, data: st.DataObject) -> None:
    packed = pack_value(value)
    assert CLOSE.problem(packed, Content.VALUE) == ""
    assert CLOSE.agree(packed, packed, Content.VALUE)
    at = data.draw(st.integers(0, len(packed) - 1))
    other = packed[:at] + bytes([data.draw(st.integers(0, 255))]) + packed[at + 1 :]
    if CLOSE.agree(packed, other, Content.VALUE):
        unpack_value(other)  # what agrees can be read, if only one of those it agrees with can
    assert CLOSE.agree(packed, other, Content.VALUE) == CLOSE.agree(other, packed, Content.VALUE)
    assert not CLOSE.agree(packed, packed[:at], Content.VALUE)
    assert not CLOSE.agree(packed, packed + b"\0", Content.VALUE)


@given(st.binary(max_size=60))
@example(b"")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc9\xff\xff\xff\xff\x14")
@example(b"\xd6\x01")
@example(b"\xc7\x03\x15<f8\0")
def test_any_bytes_can_be_walked(data: bytes) -> None:
    CLOSE.agree(data, data, Content.VALUE)
    CLOSE.agree(data, data + b"\0", Content.VALUE)
    CLOSE.problem(data, Content.VALUE)


@pytest.mark.parametrize(
    "piece", [b"\x91", b"\xdd\xff\xff\xff\xff", b"\x81\xa0", b"\x91\xc7\x00\x28", b"\x90", b"\x01"]
)
def test_depth_and_promised_sizes_cost_nothing(piece: bytes) -> None:
    deep = piece * (300_000 // len(piece))
    assert not CLOSE.agree(deep, deep + b"\1", Content.VALUE)


def test_the_codes_of_extensions_are_those_of_the_protocol() -> None:
    """They are written down twice, because the engine may not import the protocol."""
    marks = {kind: code for kind, (code, _) in forms._MARKED.items()}
    plain = {kind: code for kind, (code, _) in forms._LEAVES.items()}
    exact = (
        range,
        slice,
        Fraction,
        datetime.date,
        datetime.time,
        datetime.datetime,
        datetime.timedelta,
        datetime.timezone,
    )
    assert {marks[kind] for kind in exact} == leaves.EXACT
    assert marks[tuple] == leaves.TUPLE
    assert (plain[int], plain[complex], plain[Decimal]) == (leaves.INTEGER, leaves.COMPLEX, leaves.DECIMAL)
    assert (forms.ARRAY, forms.SCALAR) == (leaves.ARRAY, leaves.SCALAR)


def test_pickles_are_never_looked_into() -> None:
    assert not CLOSE.agree(b"1", b"1.0", Content.OPAQUE)
    assert CLOSE.problem(b"1", Content.OPAQUE)
    assert limits.COMPARED_BYTES < limits.ANSWERS_BYTES
