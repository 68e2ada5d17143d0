"""What work is worth: nobody is paid by its own word, and everybody the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.core.trust.credit import MICRO, cost, price, recent

CLAIMS = st.lists(st.floats(1e-3, 1e12), min_size=2, max_size=9)


def test_a_second_of_the_reference_is_a_credit() -> None:
    assert cost(1_000, limits.REFERENCE_SPEED) == MICRO
    assert cost(1_000, 0.0) == MICRO, "of a node that measured nothing"
    assert cost(1_000, 2 * limits.REFERENCE_SPEED) == 2 * MICRO
    assert cost(0, 0.0) == MICRO / 1_000, "nothing takes no time at all"


def test_the_price_is_the_median_of_what_those_who_agree_claim() -> None:
    assert price([(10, [100.0, 300.0, 200.0])]) == 20.0
    assert price([(10, [100.0, 300.0])]) == 10.0, "of two the lower"
    assert price([(1, [5.0, 5.0]), (1, [7.0, 8.0]), (1, [900.0, 900.0])]) == 7.0


def test_a_number_one_node_alone_claims_is_never_paid() -> None:
    assert price([(10, [1e12])]) == 0.0
    assert price([]) == 0.0


@given(honest=CLAIMS, boast=st.floats(1.0, 1e15))
def test_one_who_boasts_raises_no_price_above_what_somebody_honest_claimed(honest: list[float], boast: float) -> None:
    assert price([(1, [*honest, boast])]) <= max(honest)


def test_recent_credit_halves_in_a_week() -> None:
    now, week_ago = recent({100: 7 * MICRO}, 100), recent({100: 7 * MICRO}, 107)
    assert now == pytest.approx(2 * week_ago)
    steady = recent(dict.fromkeys(range(1000), 24 * MICRO), 999)
    assert steady == pytest.approx(24.0, rel=0.06), "who earns 24 a day has earned 24 a day lately"


def test_a_jobs_tiny_first_tasks_do_not_set_the_price_of_its_large_ones() -> None:
    """A run costs a millisecond however little it does: a job of pieces the grid chooses would pay by the thousandfold."""
    tiny, large = [(1, [1_000.0, 1_000.0])] * 40, [(10_000_000, [900_000.0, 950_000.0])] * 3
    assert price([*tiny, *large]) == 900_000.0 / 10_000_000


def test_no_speed_counts_for_more_than_there_is() -> None:
    assert cost(1_000, 1e308) == cost(1_000, limits.SPEED_MOST) < float("inf")
