"""The laws every reducer keeps, tried on all of them: they make answers independent of order and crashes."""

from __future__ import annotations

import json
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid.core.reducing import REDUCERS, check
from crowdgrid.errors import BadInput

numbers = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["0", "-0", "0.0", "-0.0", "1e3", "1000", "1000.00", "+7", ".5", "5."]),
).map(lambda text: f" {text}\n".encode())
raw = st.binary(max_size=12)
objects = st.dictionaries(
    st.text(max_size=3), st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), max_size=4
).map(lambda found: json.dumps(found).encode())
OUTPUTS = {
    "collect": raw,
    "concatenate": raw,
    "count": raw | st.sampled_from([b"a\nb\n", b"\n\n", b" \n7"]),
    "first": raw | st.sampled_from([b"", b" \n"]),
    "maximum": numbers,
    "merge_counters": objects,
    "minimum": numbers,
    "sum": numbers,
}


def test_every_reducer_is_tried() -> None:
    assert OUTPUTS.keys() == REDUCERS.keys()
    assert all(REDUCERS[name].name == name for name in REDUCERS)


@pytest.mark.parametrize("name", REDUCERS)
@settings(max_examples=60)
@given(data=st.data())
def test_the_answer_does_not_depend_on_where_blocks_begin(name: str, data: st.DataObject) -> None:
    """Folding block by block and combining in any grouping gives the state of folding all at once, byte for byte."""
    reducer = REDUCERS[name]
    outputs = data.draw(st.lists(OUTPUTS[name].filter(lambda o: not reducer.accepts(o)), max_size=12))
    whole = reducer.fold(reducer.empty(), outputs)
    a, b = sorted((data.draw(st.integers(0, len(outputs))), data.draw(st.integers(0, len(outputs)))))
    one, two, three = (reducer.fold(reducer.empty(), part) for part in (outputs[:a], outputs[a:b], outputs[b:]))
    assert reducer.combine(reducer.combine(one, two), three) == whole
    assert reducer.combine(one, reducer.combine(two, three)) == whole
    assert reducer.fold(reducer.fold(one, outputs[a:b]), outputs[b:]) == whole
    assert reducer.combine(whole, reducer.empty()) == whole == reducer.combine(reducer.empty(), whole)
    assert reduce(lambda state, output: reducer.fold(state, [output]), outputs, reducer.empty()) == whole


@pytest.mark.parametrize("name", [name for name in REDUCERS if REDUCERS[name].keeps_state])
@settings(max_examples=60)
@given(data=st.data())
def test_the_answer_does_not_depend_on_order(name: str, data: st.DataObject) -> None:
    """Reducers that keep state commute, because children of split tasks count in blocks of their own."""
    reducer = REDUCERS[name]
    outputs = data.draw(st.lists(OUTPUTS[name].filter(lambda o: not reducer.accepts(o)), max_size=8))
    other = data.draw(st.permutations(outputs))
    state = reducer.fold(reducer.empty(), outputs)
    assert reducer.fold(reducer.empty(), other) == state
    assert repr(reducer.answer(state)) == repr(reducer.answer(reducer.fold(reducer.empty(), other)))


@pytest.mark.parametrize("name", REDUCERS)
@settings(max_examples=100)
@given(payload=st.one_of(st.binary(max_size=40), st.text('0123456789+-.eE_ \n{}[]":,', max_size=40).map(str.encode)))
def test_what_is_accepted_can_be_folded(name: str, payload: bytes) -> None:
    """Any bytes are either refused with a sentence or folded without an error."""
    reducer = REDUCERS[name]
    if sentence := reducer.accepts(payload):
        assert sentence.endswith(".")
    else:
        reducer.answer(reducer.fold(reducer.empty(), [payload]))


@pytest.mark.parametrize("name", [name for name in REDUCERS if REDUCERS[name].keeps_state])
def test_a_damaged_state_is_refused(name: str) -> None:
    """A cache that cannot be read must be folded again, never give a wrong answer."""
    with pytest.raises(BadInput, match="partial answer cannot be read"):
        REDUCERS[name].combine(b"\xc1damaged", b"\xc1damaged")


def test_an_unknown_name_lists_the_known_ones() -> None:
    check("sum")
    with pytest.raises(BadInput, match="'add'") as caught:
        check("add")
    assert "merge_counters" in caught.value.hint
