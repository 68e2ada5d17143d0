"""What each reducer answers, and what it refuses to read."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.reducing import REDUCERS, Answer, Look, look, pack_answers
from crowdgrid.errors import TooLarge


def answer(name: str, *outputs: bytes) -> object:
    reducer = REDUCERS[name]
    for output in outputs:
        assert reducer.accepts(output) == ""
    return reducer.answer(reducer.fold(reducer.empty(), outputs))


@given(st.lists(st.integers(-(10**200), 10**200), max_size=20))
def test_integers_are_added_exactly(values: list[int]) -> None:
    result = answer("sum", *(b"%d\n" % value for value in values))
    assert result == sum(values)
    assert type(result) is int


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_decimals_are_added_exactly_and_rounded_once(values: list[float]) -> None:
    """Against exact fractions of what was written: the answer is the float nearest to the true sum."""
    texts = [f"{value!r}" for value in values]
    exact = sum((Fraction(Decimal(text)) for text in texts), Fraction(0))
    result = answer("sum", *(text.encode() for text in texts))
    try:
        expected: int | float = float(exact)
    except OverflowError:
        expected = int(exact)
    assert result == expected
    assert type(result) is type(expected)


def test_sums_people_know() -> None:
    assert answer("sum", b"0.1", b"0.2") == 0.3
    assert answer("sum", b"1e16", b"1", b"-1e16") == 1.0
    assert answer("sum") == 0
    assert repr(answer("sum", b"2.0", b"3")) == "5.0"


def test_the_longest_numbers_add_up() -> None:
    """At the limits of size on both sides of the point nothing is rounded or refused."""
    big, small = b"9" * limits.NUMBER_CHARS, b"1e-4000"
    assert answer("sum", big, big, b"1") == 2 * int(big) + 1
    reducer = REDUCERS["sum"]
    state = reducer.fold(reducer.empty(), [big, small, b"1e4000"])
    assert answer("sum", small, b"-1e-4000") == 0.0
    assert reducer.answer(reducer.combine(state, state)) == 2 * (int(big) + 10**4000)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "empty where a decimal number"),
        (b" \n", "empty where a decimal number"),
        (b"abc", "The output 'abc' is not a decimal number."),
        (b"1 2", "not a decimal number"),
        (b"1_000", "not a decimal number"),
        (b"nan", "not a decimal number"),
        (b"Infinity", "not a decimal number"),
        (b"0x10", "not a decimal number"),
        ("٣".encode(), "not a decimal number"),
        (b"\xff\xfe", "not a decimal number"),
        (b"1e999999999", "places from its decimal point"),
        (b"1e-999999999", "places from its decimal point"),
        (b"1e" + b"9" * 3000, "places from its decimal point"),
        (b"1e4001", "places from its decimal point"),
        (b"1" * (limits.NUMBER_CHARS + 1), "longer than a number may be"),
    ],
)
@pytest.mark.parametrize("name", ["sum", "minimum", "maximum"])
def test_what_is_no_number_is_refused_with_a_reason(name: str, payload: bytes, says: str) -> None:
    """A program that prints nothing or garbage must not vanish from a sum, nor a huge exponent fill memory."""
    sentence = REDUCERS[name].accepts(payload)
    assert says in sentence
    assert len(sentence) < 200


def test_extremes() -> None:
    assert answer("minimum", b"3", b"-2.5", b"1e2") == -2.5
    assert answer("maximum", b"3", b"-2.5", b"1e2") == 100.0
    assert answer("maximum", b"%d" % 10**40, b"%d" % (10**40 + 1)) == 10**40 + 1
    assert answer("minimum") is None


def test_equal_extremes_do_not_depend_on_spelling() -> None:
    """2 and 2.0 are equal: the integer is kept, whichever came first."""
    assert repr(answer("maximum", b"2.0", b"2")) == repr(answer("maximum", b"2", b"2.00")) == "2"
    assert repr(answer("minimum", b"-0.0", b"0.00")) == "0.0"


def test_count_counts_lines_that_are_not_blank() -> None:
    """However a range was cut, a program that prints one line for each find counts the same."""
    assert answer("count", b"a\nb\n", b"", b"\n \n", b"c") == 3
    assert answer("count", b"a\nb\nc") == answer("count", b"a\n", b"b\n", b"c")


def test_merge_counters() -> None:
    assert answer("merge_counters", b'{"a": 1, "b": 0.1}', b'{"b": 0.2, "c": -3}', b"{}") == {
        "a": 1,
        "b": 0.3,
        "c": -3,
    }


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"a": 1', "not a JSON object"),
        (b'{"a": "1"}', "The counter 'a' cannot be read."),
        (b'{"a": null}', "The counter 'a' cannot be read."),
        (b'{"a": 1e99999}', "The counter 'a' cannot be read."),
        (b'{"a": ' + b"[" * 100_000, "not a JSON object"),
        (b'{"\xff": 1}', "not a JSON object"),
        (rb'{"\ud800": 1}', "not a JSON object"),
    ],
)
def test_counters_that_cannot_be_read_are_refused(payload: bytes, says: str) -> None:
    assert says in REDUCERS["merge_counters"].accepts(payload)


def test_too_many_counters_are_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of counters is held whole: a job that names ever new keys must stop, not fill the memory."""
    monkeypatch.setattr("crowdgrid.core.reducing.merge_counters.COUNTERS", 2)
    reducer = REDUCERS["merge_counters"]
    assert "more than 2 counters" in reducer.accepts(b'{"a":1,"b":1,"c":1}')
    with pytest.raises(TooLarge, match="different counters"):
        reducer.fold(reducer.empty(), [b'{"a":1}', b'{"b":1}', b'{"c":1}'])


def test_ordered_reads() -> None:
    assert answer("collect", b"a", b"", b"b") == [b"a", b"", b"b"]
    assert answer("concatenate", b"a\n", b"", b"b") == b"a\nb"
    assert answer("first", b"", b" \n", b"hit\n", b"other") == b"hit\n"
    assert answer("first", b"", b"\n") is None


def test_a_look_into_one_output() -> None:
    """The engine learns at once whether a result can be read and whether it is a hit."""
    assert look(REDUCERS["first"], b"42\n") == Look(hit=True)
    assert look(REDUCERS["first"], b"\n") == Look()
    assert "not a decimal number" in look(REDUCERS["sum"], b"x").problem


def test_a_look_into_packed_answers() -> None:
    """One bad item fails itself only; answers of another number than runs are no answer."""
    packed = pack_answers([Answer(True, b"1"), Answer(False, error="exit code 3"), Answer(True, b"x")])
    assert look(REDUCERS["sum"], packed, runs=3) == Look(failed=2, hit=True)
    assert "4 runs and the payload 3 answers" in look(REDUCERS["sum"], packed, runs=4).problem
    assert look(REDUCERS["sum"], b"1", runs=3).problem
