"""The rule that makes one answer of votes that are close, although closeness is not transitive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.core.model import Outcome
from crowdgrid.core.trust.comparators import Candidate, choose, classes, find_groups
from crowdgrid.core.trust.comparators.closeness import Choice, groups, pairs


def within(values: list[float], tolerance: float) -> list[tuple[int, ...]]:
    return [tuple(j for j, b in enumerate(values) if abs(a - b) <= tolerance) for a in values]


def test_the_example_of_the_docstring() -> None:
    """1.4 is close to both others, which are not close to each other: it wins with all three."""
    close = within([1.0, 1.4, 1.8], 0.5)
    assert close == [(0, 1), (0, 1, 2), (1, 2)]
    assert choose(close, [1, 1, 1]) == Choice(1, (0, 1, 2), 3)


def test_a_chain_is_no_group() -> None:
    """0, 1, 2, … 9 are linked one to the next; the winner has its two neighbours, not all ten."""
    won = choose(within([float(n) for n in range(10)], 1.0), [1.0] * 10)
    assert won == Choice(1, (0, 1, 2), 3)


def test_weights_decide_and_ties_go_to_the_earlier_vote() -> None:
    close = within([1.0, 1.4, 1.8, 9.0], 0.5)
    assert choose(close, [1, 1, 1, 4]) == Choice(3, (3,), 4)
    assert choose(close, [1, 1, 1, 3]) == Choice(1, (0, 1, 2), 3)
    assert choose(within([5.0, 1.0, 5.0, 1.0], 0), [1, 1, 1, 1]) == Choice(0, (0, 2), 2)
    assert choose([], []) is None


def test_equal_weights_are_equal_in_any_order() -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 when each addition is rounded: the tie must still be one."""
    close = within([1, 2, 1, 2, 1, 2], 0)
    assert choose(close, [0.1, 0.3, 0.2, 0.2, 0.3, 0.1]) == Choice(0, (0, 2, 4), 0.6)


def test_the_published_votes() -> None:
    """Trusts 7, 7 for 42 against 3, 3, 3; and 9, 9 against 1.5 × 3."""
    close = within([666, 42, 666, 42, 666], 0)
    for liars, honest, share in ((3.0, 7.0, 14 / 23), (1.5, 9.0, 0.8)):
        won = choose(close, [liars, honest, liars, honest, liars])
        assert won is not None
        assert won.group == (1, 3)
        assert won.weight / (3 * liars + 2 * honest) == pytest.approx(share)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), min_size=1, max_size=12))
def test_every_vote_that_counts_is_close_to_what_is_delivered(votes: list[tuple[float, float]]) -> None:
    values, weights = [value for value, _ in votes], [weight for _, weight in votes]
    close = within(values, 1.0)
    won = choose(close, weights)
    assert won is not None
    assert won.vote in won.group
    assert all(abs(values[each] - values[won.vote]) <= 1.0 for each in won.group)
    assert all(sum(weights[each] for each in group) <= won.weight + 1e-9 for group in close)
    apart = classes(close, weights)
    assert apart[0] == won
    assert sorted(each for one in apart for each in one.group) == list(range(len(votes)))
    assert all(each in close[one.vote] for one in apart for each in one.group)
    assert [one.weight for one in apart] == sorted((one.weight for one in apart), reverse=True)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10), st.data())
def test_where_closeness_is_transitive_groups_are_classes(values: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(values), max_size=len(values)))
    close = within([float(value) for value in values], 0)
    assert {one.group for one in classes(close, weights)} == set(close)


def answers(*payloads: bytes) -> list[Candidate]:
    return [Candidate(Outcome.OK, b"digest of " + payload, payload) for payload in payloads]


def test_only_different_answers_are_compared_and_each_pair_once() -> None:
    """Ten nodes that say the same cost no comparison: an honest crowd must not be dear."""
    asked: list[tuple[bytes | None, bytes | None]] = []

    def agree(one: Candidate, other: Candidate) -> bool:
        asked.append((one.payload, other.payload))
        return {one.payload, other.payload} == {b"a", b"b"}

    found = find_groups(answers(b"a", b"a", b"b", b"a", b"c", b"b"), agree)
    assert asked == [(b"a", b"b"), (b"a", b"c"), (b"b", b"c")]
    assert found == [(0, 1, 2, 3, 5), (0, 1, 2, 3, 5), (0, 1, 2, 3, 5), (0, 1, 2, 3, 5), (4,), (0, 1, 2, 3, 5)]
    assert groups([], []) == []


def test_errors_and_what_is_not_at_hand_agree_with_the_same_digest_only() -> None:
    error = Candidate(Outcome.PROGRAM_ERROR, b"one")
    other_error = Candidate(Outcome.PROGRAM_ERROR, b"two", b"1")
    far = Candidate(Outcome.OK, b"one")
    [near] = answers(b"1")
    votes = [error, far, near, error, other_error, far]
    assert list(pairs(votes)) == []
    assert find_groups(votes, lambda one, other: True) == [(0, 3), (1, 5), (2,), (0, 3), (4,), (1, 5)]
