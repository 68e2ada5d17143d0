"""What holds for every comparator, whoever sent the results; exact, unordered lines, tasks of several runs; settings."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.model import Outcome, Result
from crowdgrid.core.reducing import Answer, pack_answers
from crowdgrid.core.trust import comparators
from crowdgrid.core.trust.comparators import COMPARATORS, Candidate, Content, candidate, comparator, content_of, same
from crowdgrid.core.trust.comparison import (
    Comparison,
    Exact,
    Interval,
    Numeric,
    Program,
    UnorderedLines,
    check,
)
from crowdgrid.errors import BadInput
from crowdgrid.protocol.packing import answer_digest
from crowdgrid.protocol.values import pack_value

ALL: list[Comparison] = [Exact(), Numeric(rtol=1e-6), Interval(), UnorderedLines()]
by_kind = pytest.mark.parametrize("how", ALL, ids=lambda how: type(how).__name__)


def ok(payload: bytes) -> Candidate:
    return Candidate(Outcome.OK, answer_digest(ok=True, payload=payload), payload)


def failed(error: str, exit_code: int = 1) -> Candidate:
    return Candidate(Outcome.PROGRAM_ERROR, answer_digest(ok=False, exit_code=exit_code, error=error), b"")


def agree(
    how: Comparison, one: bytes, other: bytes, content: Content = Content.OUTPUT, *, packed: bool = False
) -> bool:
    forward = same(comparator(how), ok(one), ok(other), content=content, packed=packed)
    assert forward == same(comparator(how), ok(other), ok(one), content=content, packed=packed)
    return forward


payloads = st.one_of(
    st.binary(max_size=20),
    st.text("01.e+-±[]{},\n \tnaif", max_size=20).map(str.encode),
    st.recursive(st.floats() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3)).map(pack_value),
    st.lists(st.builds(Answer, st.booleans(), st.binary(max_size=4), st.text(max_size=4)), max_size=3).map(
        pack_answers
    ),
)


# --- all of them -------------------------------------------------------------------------------


def test_every_comparator_is_tried() -> None:
    assert [how.__struct_config__.tag for how in ALL] == list(COMPARATORS)


@by_kind
@given(one=payloads, other=payloads, content=st.sampled_from(Content), packed=st.booleans())
def test_agreement_is_reflexive_and_symmetric_whatever_is_sent(
    how: Comparison, one: bytes, other: bytes, content: Content, packed: bool
) -> None:
    assert agree(how, one, one, content, packed=packed)
    agree(how, one, other, content, packed=packed)
    comparators.problem(comparator(how), one, content=content)


@by_kind
def test_errors_agree_by_what_identifies_them(how: Comparison) -> None:
    """By exit code and sentence, as nodes sign them; never with an answer, not even one of the same bytes."""
    kind = comparator(how)

    def judge(one: Candidate, other: Candidate) -> bool:
        assert same(kind, one, other, content=Content.OUTPUT, packed=False) == same(
            kind, other, one, content=Content.OUTPUT, packed=False
        )
        return same(kind, one, other, content=Content.OUTPUT, packed=False)

    assert judge(failed("It exited with 1."), failed("It exited with 1."))
    assert not judge(failed("1 ± 1", 1), failed("1 ± 1.0", 1))
    assert not judge(failed("It exited.", 1), failed("It exited.", 2))
    assert not judge(failed("1"), ok(b"1"))
    assert not judge(Candidate(Outcome.PROGRAM_ERROR, ok(b"1").digest, b"1"), ok(b"1"))


@by_kind
def test_what_was_not_fetched_agrees_by_its_digest(how: Comparison) -> None:
    """Two answers of which nothing is known must not look like two empty ones."""
    kind = comparator(how)
    one, other = (Candidate(Outcome.OK, answer_digest(ok=True, payload=text)) for text in (b"1", b"2"))
    assert same(kind, one, one, content=Content.OUTPUT, packed=False)
    assert same(kind, one, ok(b"1"), content=Content.OUTPUT, packed=False)
    for packed in (False, True):
        assert not same(kind, one, other, content=Content.OUTPUT, packed=packed)
        assert not same(kind, one, ok(b"2"), content=Content.OUTPUT, packed=packed)


@by_kind
def test_larger_answers_than_the_limit_are_not_looked_into(how: Comparison) -> None:
    large = b"1 1\n" * (limits.COMPARED_BYTES // 4) + b"1"
    assert agree(how, large, large)
    assert not agree(how, large, large + b" ")
    assert not agree(how, large, b"1.0 1\n" + large[4:])
    says = comparators.problem(comparator(how), large, content=Content.OUTPUT)
    assert says == "" if type(how) is Exact else f"{limits.COMPARED_BYTES:,} bytes" in says


@by_kind
def test_pickles_are_never_read(how: Comparison) -> None:
    assert agree(how, b"1 1", b"1 1", Content.OPAQUE)
    assert not agree(how, b"1 1", b"1.0 1", Content.OPAQUE)
    assert not agree(how, b"a\nb", b"b\na", Content.OPAQUE)
    assert content_of("python-pickle") is Content.OPAQUE
    assert content_of("python") is Content.VALUE
    assert content_of("wasm") is Content.OUTPUT


def test_a_candidate_has_the_payload_that_is_at_hand() -> None:
    digest = hashlib.sha256(b"x").digest()
    assert candidate(Result(Outcome.OK, digest, b"x", "", 1)).payload == b"x"
    assert candidate(Result(Outcome.OK, digest, b"", digest.hex(), 1)).payload is None
    assert candidate(Result(Outcome.OK, digest, b"", digest.hex(), 1), b"x").payload == b"x"


# --- exact, and lines ----------------------------------------------------------------------------


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_exact_is_equality(one: bytes, other: bytes) -> None:
    assert agree(Exact(), one, other) == (one == other)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b"a\nb\n", b"b\na\n", True),
        (b"a\nb", b"b\na\n", True),  # which line is the last depends on the order
        (b"a\na\nb", b"a\nb\na", True),
        (b"a\na\nb", b"a\nb\nb", False),
        (b"a", b"a\n", True),
        (b"a\n", b"a\n\n", False),
        (b"", b"\n", False),
        (b"\n\n", b"\n", False),
        (b"\na", b"a\n", False),
        (b"\na", b"a\n\n", True),
        (b"a \nb", b"a\nb ", False),
        (b"a\r\nb", b"b\r\na", False),
        (b"ab", b"ba", False),
        (b"a\xffb\n\0", b"\0\na\xffb", True),
    ],
)
def test_lines_in_any_order(one: bytes, other: bytes, expected: bool) -> None:
    assert agree(UnorderedLines(), one, other) is expected


@given(st.lists(st.binary(max_size=3).filter(lambda line: b"\n" not in line), max_size=8), st.data())
def test_any_order_of_lines_is_the_same(lines: list[bytes], data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(lines))
    text = b"".join(line + b"\n" for line in lines)
    assert agree(UnorderedLines(), text, b"".join(line + b"\n" for line in mixed))
    assert not agree(UnorderedLines(), text, text + b"more")


def test_lines_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMPARED_LINES", 3)
    assert agree(UnorderedLines(), b"a\nb\nc", b"c\nb\na\n")
    assert not agree(UnorderedLines(), b"a\nb\nc\nd", b"d\nc\nb\na")
    how = comparator(UnorderedLines())
    assert how.problem(b"a\nb\nc\n", Content.OUTPUT) == ""
    assert "more than 3 lines" in how.problem(b"a\nb\nc\nd", Content.OUTPUT)
    assert "no lines" in how.problem(b"a", Content.VALUE)


# --- tasks of several runs -----------------------------------------------------------------------


def packed(how: Comparison, one: list[Answer], other: list[Answer], content: Content = Content.OUTPUT) -> bool:
    return agree(how, pack_answers(one), pack_answers(other), content, packed=True)


def test_a_task_of_items_agrees_when_each_item_does() -> None:
    one = [Answer(True, b"1.0"), Answer(False, error="It exited with 3."), Answer(True, b"x")]
    close = [Answer(True, b"1.0000001"), *one[1:]]
    assert packed(Numeric(rtol=1e-6), one, close)
    assert not packed(Exact(), one, close)
    assert not packed(Numeric(rtol=1e-6), one, [Answer(True, b"1.1"), *one[1:]])
    assert not packed(Numeric(rtol=1e-6), one, one[:2])
    assert not packed(Numeric(rtol=1e-6), one, [one[0], Answer(False, error="It exited with 4."), one[2]])
    assert not packed(Numeric(rtol=1e-6), one, [*one[:2], Answer(False, error="x")])
    value, near = ([Answer(True, pack_value([number, "a"]))] for number in (2.0, 2.0000001))
    assert packed(Numeric(rtol=1e-6), value, near, Content.VALUE)
    assert not packed(Numeric(rtol=1e-6), value, near, Content.OPAQUE)


@by_kind
def test_a_run_that_failed_is_known_by_its_sentence(how: Comparison) -> None:
    """Tracebacks name folders and addresses: honest nodes would never agree on a failure by its bytes."""
    one, other = (Answer(False, data, "ValueError: no") for data in (b"File one.py, line 3", b"File two.py, line 3"))
    assert packed(how, [one, Answer(True, b"1")], [other, Answer(True, b"1")])
    assert not packed(how, [one], [Answer(False, b"File one.py, line 3", "ValueError: yes")])


@by_kind
def test_what_is_not_packed_agrees_with_nothing(how: Comparison) -> None:
    good = pack_answers([Answer(True, b"1 1")])
    for bad in (b"", b"\1", b"\2" + good[1:], good[:-1], good + b"\0", b"\1\x91\xc0", b"\1" + b"\x91" * 100_000):
        assert not agree(how, good, bad, packed=True)
        assert not agree(how, bad + b"\3", bad, packed=True)


def test_items_that_differ_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand items of the largest size each would take a thousand times as long."""
    monkeypatch.setattr(limits, "COMPARED_BYTES", 30)
    one, other = [Answer(True, b"1" * 10 + b".0")] * 3, [Answer(True, b"1" * 10)] * 3
    assert not packed(Numeric(), one, other)
    assert packed(Numeric(), [*one[:2], *other], [*other[:2], *other])


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*ALL, Numeric(0, 5.0), Interval(2.0, 1.0), Program("ab" * 32)], ids=repr)
def test_settings_come_back_as_they_were(how: Comparison) -> None:
    check(how)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(how), type=Comparison) == how
    assert msgspec.json.decode(msgspec.json.encode(how), type=Comparison) == how


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (Numeric(rtol=-1e-9), "rtol is from 0 to below 1, not -1e-09"),
        (Numeric(rtol=1.0), "rtol is from 0 to below 1"),
        (Numeric(rtol=NAN), "rtol is from 0 to below 1, not nan"),
        (Numeric(rtol=INF), "rtol is from 0 to below 1"),
        (Numeric(atol=-1.0), "atol is a finite number from 0 on, not -1.0"),
        (Numeric(atol=NAN), "atol is a finite number"),
        (Numeric(atol=INF), "atol is a finite number"),
        (Interval(z=0.0), "above 0 and at most 100"),
        (Interval(z=-3.0), "above 0 and at most 100"),
        (Interval(z=NAN), "above 0 and at most 100"),
        (Interval(z=INF), "above 0 and at most 100"),
        (Interval(ratio=0.5), "is from 1 to 100"),
        (Interval(ratio=NAN), "is from 1 to 100"),
        (Interval(ratio=INF), "is from 1 to 100"),
        (Program(""), "'' is not the name of a program"),
        (Program("AB" * 32), "is not the name of a program"),
        (Program("ab" * 32 + "\n"), "is not the name of a program"),
    ],
    ids=repr,
)
def test_parameters_that_cannot_be_worked_with_are_refused_in_one_sentence(how: Any, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        check(how)
    assert says in refused.value.message


def test_a_submitters_program_is_not_run_here() -> None:
    with pytest.raises(BadInput, match="run by the hub"):
        comparator(Program("ab" * 32))
