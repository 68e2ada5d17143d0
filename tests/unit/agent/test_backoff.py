"""Waiting before the next try: quick after a loss, rare after a long one, spread, and as the hub asks."""

from __future__ import annotations

import random

from crowdgrid.agent import backoff
from crowdgrid.agent.backoff import Backoff


class Highest(random.Random):
    """Chance that always takes the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_waits_double_up_to_the_cap() -> None:
    waits = [Backoff.next(one) for one in [Backoff(Highest())] for _ in range(12)]
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert waits[-1] == backoff.CAP_SECONDS


def test_full_jitter_spreads_a_crowd_from_zero_to_the_bound() -> None:
    waits = []
    for seed in range(300):
        one = Backoff(random.Random(seed))
        waits.append([one.next() for _ in range(9)][-1])
    assert min(waits) < 1.5
    assert max(waits) > 28.5


def test_a_restarted_hub_is_found_within_two_seconds() -> None:
    """For a while after a loss no wait is longer than a second and a half, however often it failed."""
    one = Backoff(Highest())
    for _ in range(50):
        one.next()
    one.lost(lasted=100)
    total = 0.0
    while total < backoff.SOON_SECONDS:
        wait = one.next()
        assert wait <= backoff.SOON_CAP_SECONDS
        total += wait
    assert one.next() > backoff.SOON_CAP_SECONDS


def test_a_hub_that_turns_us_away_at_once_is_not_hammered() -> None:
    one = Backoff(Highest())
    waits = []
    for _ in range(10):
        one.lost(lasted=0.01)
        waits.append(one.next())
    assert waits[-1] == backoff.SOON_CAP_SECONDS


def test_the_hub_directs_the_wait() -> None:
    one = Backoff(Highest())
    assert one.next(retry_after=40) == 50
    assert Backoff(random.Random(1)).next(retry_after=40) >= 40
