"""Chance that replays has the distributions it says, and one purpose never moves another."""

from __future__ import annotations

from math import exp, gamma
from statistics import fmean, median

import pytest

from crowdgrid.simulation import availability, scenario
from crowdgrid.simulation.availability import HOUR_MS
from crowdgrid.simulation.streams import Stream, draw, key_of
from crowdgrid.simulation.timeline import Timeline

MANY = 20_000


def test_a_draw_depends_on_seed_purpose_place_and_index_alone() -> None:
    assert draw(key_of(1, "errors", 5), 7) == draw(key_of(1, "errors", 5), 7) == pytest.approx(0.5, abs=0.5)
    keys = {
        key_of(1, "errors", 5),
        key_of(2, "errors", 5),
        key_of(1, "frames", 5),
        key_of(1, "errors", 6),
        key_of(1, "errors", 5, 0),
    }
    assert len(keys) == 5


def test_the_numbers_are_those_of_every_machine_and_version() -> None:
    """A regression line means the same run next year."""
    stream = Stream(7, "words", 3)
    assert [stream.below(1000) for _ in range(5)] == [668, 934, 235, 457, 232]


def test_distributions_have_their_means() -> None:
    stream = Stream(1, "means")
    assert fmean(stream.uniform() for _ in range(MANY)) == pytest.approx(0.5, abs=0.01)
    assert fmean(stream.exponential(3.0) for _ in range(MANY)) == pytest.approx(3.0, rel=0.04)
    assert fmean(stream.normal() for _ in range(MANY)) == pytest.approx(0.0, abs=0.03)
    assert fmean(stream.gamma(3.5) for _ in range(MANY)) == pytest.approx(3.5, rel=0.03)
    on = [stream.weibull(0.393, 2.964) for _ in range(MANY)]
    assert fmean(on) == pytest.approx(2.964 * gamma(1 + 1 / 0.393), rel=0.12)  # 10.3 h, as published
    assert median(on) == pytest.approx(1.17, rel=0.08)
    assert median(stream.lognormal(2.844, 0.586) for _ in range(MANY)) == pytest.approx(exp(2.844), rel=0.03)


@pytest.mark.parametrize(("reading", "share"), [("narrow", 0.34), ("wide", 0.25)])
def test_published_availability_comes_out_from_the_first_moment_on(reading: str, share: float) -> None:
    profile = scenario.Churn(reading=reading)  # type: ignore[arg-type]
    firsts = [availability.first(profile, Stream(1, "first", node), 0) for node in range(MANY)]
    assert fmean(turn.on for turn in firsts) == pytest.approx(share, abs=0.015)
    at = 24 * HOUR_MS
    later = 0
    for node in range(4_000):
        stream = Stream(2, "later", node)
        turn = availability.first(profile, stream, 0)
        now = turn.ms
        while now <= at:
            turn = availability.then(profile, turn.on, stream, now)
            now += turn.ms
        later += turn.on
    assert later / 4_000 == pytest.approx(share, abs=0.03)


def test_a_node_with_hours_is_on_between_them_each_day() -> None:
    profile = scenario.Hours(begin=18.0, end=8.0, jitter_h=1.0)
    stream, now, on_at = Stream(1, "hours"), 0, []
    turn = availability.first(profile, stream, now)
    for _ in range(20):
        if turn.on:
            on_at.append((now / HOUR_MS) % 24)
        now += turn.ms
        turn = availability.then(profile, turn.on, stream, now)
    assert len(on_at) >= 9
    assert all(at >= 18 or at <= 8 for at in on_at)


def test_things_happen_in_order_and_those_of_one_moment_as_they_were_put_down() -> None:
    timeline = Timeline()
    seen: list[str] = []
    began = timeline.now
    timeline.after(5, seen.append, "b")
    timeline.after(5, seen.append, "c")
    timeline.after(1, seen.append, "a")
    timeline.at(began - 50, seen.append, "now")
    while timeline.next() >= 0:
        timeline.step()
    assert seen == ["now", "a", "b", "c"]
    assert (timeline.now, timeline.happened) == (began + 5, 4)
