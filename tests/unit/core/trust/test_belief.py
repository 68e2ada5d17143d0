"""Beliefs about error rates: the published figures, and what must hold whatever the votes."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid.core.trust import belief
from crowdgrid.core.trust.belief import NOTHING, PRIOR, RATES, Crowd, chances, doubt, learn, posterior

doubts = st.floats(1e-9, 0.99)


def clean_audits(prior: tuple[float, ...], bound: float) -> int:
    """How many audits a node must pass before it may stand alone."""
    evidence, passed = NOTHING, 0
    while doubt(prior, evidence) > bound:
        evidence = learn(prior, evidence, 1.0)
        passed += 1
    return passed


@pytest.mark.parametrize(("bound", "audits"), [(1e-4, 562), (1e-6, 1330)])
def test_a_third_of_the_crowd_errs_at_six_in_a_thousand(
    bound: float, audits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the design, which rounds down, for a node that never changes."""
    monkeypatch.setattr(belief, "CHANGE", 0.0)
    prior = tuple(2 / 3 if rate == 0 else 1 / 3 if rate == 0.006 else 0.0 for rate in RATES)
    assert clean_audits(prior, bound) == audits + 1


def test_with_the_chance_of_change_it_takes_hardly_more() -> None:
    prior = tuple(2 / 3 if rate == 0 else 1 / 3 if rate == 0.006 else 0.0 for rate in RATES)
    assert 562 <= clean_audits(prior, 1e-4) <= 590


@given(st.lists(st.floats(0.0, 1.0), max_size=60))
def test_doubt_is_a_chance_whatever_was_seen(seen: list[float]) -> None:
    evidence = NOTHING
    for right in seen:
        evidence = learn(PRIOR, evidence, right)
        assert max(evidence) == 1.0
        assert min(evidence) > 0.0
        assert 0.0 < doubt(PRIOR, evidence) < 1.0
        assert isclose(sum(posterior(PRIOR, evidence)), 1.0)


@given(st.lists(st.booleans(), max_size=30))
def test_an_answer_nobody_else_looked_at_teaches_nothing(history: list[bool]) -> None:
    evidence = NOTHING
    for right in history:
        evidence = learn(PRIOR, evidence, float(right))
    before = doubt(PRIOR, evidence)
    after = doubt(PRIOR, learn(PRIOR, evidence, 1.0 - before))
    assert isclose(after, before, rel_tol=1e-2 if any(not right for right in history) else 1e-3, abs_tol=1e-6)


def test_one_caught_error_ends_standing_alone_and_a_second_all_trust() -> None:
    evidence = NOTHING
    for _ in range(5_000):
        evidence = learn(PRIOR, evidence, 1.0)
    assert doubt(PRIOR, evidence) < 1e-5
    evidence = learn(PRIOR, evidence, 0.0)
    assert doubt(PRIOR, evidence) > 5e-4
    evidence = learn(PRIOR, evidence, 0.0)
    assert doubt(PRIOR, evidence) > 0.05
    assert doubt(PRIOR, learn(PRIOR, evidence, 0.0)) > 0.3


def test_what_is_absent_long_is_a_stranger_again() -> None:
    evidence = NOTHING
    for _ in range(1_000):
        evidence = learn(PRIOR, evidence, 1.0)
    assert belief.faded(evidence, 1.0) == evidence
    assert belief.faded(evidence, 0.0) == NOTHING
    assert doubt(PRIOR, evidence) < doubt(PRIOR, belief.faded(evidence, 0.5)) < doubt(PRIOR, NOTHING)


# --- a task's votes ------------------------------------------------------------------------------


def test_one_vote_is_worth_what_its_node_is() -> None:
    for q in (1e-9, 0.1, 1.0):
        (right,), none = chances([[0.25]], q)
        assert isclose(right, 0.75)
        assert isclose(none, 0.25)


def test_two_equal_votes_are_wrong_only_together() -> None:
    """By hand: d₁d₂q against (1 − d₁)(1 − d₂)."""
    (right,), none = chances([[0.1, 0.2]], 0.01)
    assert isclose(none / right, 0.1 * 0.2 * 0.01 / (0.9 * 0.8))


def test_yes_or_no_leaves_no_third_answer() -> None:
    (yes, no), none = chances([[0.1, 0.1], [0.2]], 1.0)
    assert none == 0.0
    assert isclose(yes / no, (0.9 * 0.9 * 0.2) / (0.1 * 0.1 * 0.8))


@given(st.lists(st.lists(doubts, min_size=1, max_size=4), min_size=1, max_size=4), st.floats(0.0, 0.3))
def test_chances_add_up_to_one(groups: list[list[float]], q: float) -> None:
    found, none = chances(groups, q)
    assert isclose(sum(found) + none, 1.0)
    assert all(0.0 <= each <= 1.0 for each in found)


@given(doubts, doubts, st.floats(0.0, 1.0))
def test_one_more_equal_vote_of_a_node_mostly_right_never_makes_it_less_likely(a: float, b: float, q: float) -> None:
    if b <= 0.5:
        one, _ = chances([[a]], q)
        two, _ = chances([[a, b]], q)
        assert two[0] >= one[0] - 1e-9


# --- the crowd -----------------------------------------------------------------------------------


def test_the_prior_follows_the_crowd_but_never_forgets_the_strangers() -> None:
    crowd = Crowd()
    honest = NOTHING
    for _ in range(2_000):
        honest = learn(PRIOR, honest, 1.0)
    for _ in range(10_000):
        crowd.change(None, posterior(PRIOR, honest))
    assert crowd.settle()
    assert crowd.version == 1
    assert doubt(crowd.prior, NOTHING) < doubt(PRIOR, NOTHING) / 5
    assert all(weight > 0 for weight in crowd.prior)
    assert not crowd.settle(), "nothing has changed since"


def test_a_node_that_moves_is_not_counted_twice() -> None:
    crowd, again = Crowd(), Crowd()
    first, second = posterior(PRIOR, NOTHING), posterior(PRIOR, learn(PRIOR, NOTHING, 0.0))
    for _ in range(100):
        crowd.change(None, first)
        crowd.change(first, second)
        again.change(None, second)
    crowd.settle()
    again.settle()
    assert all(isclose(a, b) for a, b in zip(crowd.prior, again.prior, strict=True))
