"""Hubs are killed and taken over: nothing anybody was told is lost, and two never write at once."""

from __future__ import annotations

import pytest

from crowdgrid.core.engine import saved
from crowdgrid.simulation.lines import Line
from crowdgrid.simulation.running import run
from tests.simulation.scenes import world

SWEEP = {"name": "sweep", "tasks": 400}


def test_a_hub_that_was_killed_comes_back_with_what_its_store_holds() -> None:
    running = world(jobs=[SWEEP])
    running.advance(100)
    first = running.hub
    assert first is not None
    assert not first._busy
    before = saved(first.engine)
    running.kill(first)
    assert running.hub is None
    running.start_hub()
    assert running.hub is not None
    after = saved(running.hub.engine)
    assert len(after.tasks) > 0
    assert (after.jobs, after.tasks, after.assignments) == (before.jobs, before.tasks, before.assignments)
    assert running.run().fault == ""


def test_a_commit_that_was_under_way_when_the_hub_was_killed_never_happened() -> None:
    running = world(jobs=[SWEEP], hub={"commit_ms": 50, "down_s": 1.0})
    running.advance(100)
    while running.hub is None or not running.hub._busy:
        running.timeline.step()
    killed, batch = running.hub, running.hub._grid.batch
    running.kill(killed)
    running.advance(105)
    assert killed._grid.batch == batch
    assert running.run().fault == ""


def test_the_first_of_two_hubs_is_fenced_off_at_its_next_commit() -> None:
    running = world(jobs=[SWEEP])
    running.advance(100)
    first = running.hub
    running.take_over()
    second = running.hub
    assert first is not None
    assert second is not None
    assert first.alive
    running.advance(103)
    assert not first.alive
    assert second.alive
    found = running.run()
    assert (found.fault, found.jobs[0].final) == ("", 1)


def test_a_take_over_and_a_crash_in_the_same_breath_leave_one_hub() -> None:
    running = world(jobs=[SWEEP])
    running.advance(100)
    running.take_over()
    assert running.hub is not None
    running.kill(running.hub)
    running.advance(110)
    assert running.run().fault == ""


@pytest.mark.parametrize("often", [20.0, 60.0])
def test_answers_stand_however_often_hubs_are_killed(often: float) -> None:
    """Every answer of a job whose hub dies every few seconds is there, once, and right."""
    tables = {"crash_every_s": often, "takeover_every_s": 3 * often, "down_s": 1.0}
    running = world(jobs=[SWEEP, {"name": "votes", "tasks": 60, "consensus": "majority", "overlap": 2}], hub=tables)
    found = running.run()
    assert found.fault == ""
    assert found.crashes + found.takeovers >= 5
    for number, tasks in ((1, 400), (2, 60)):
        rows = running.store._below[number].tasks
        truth = running.truths[number]
        assert len(rows) == tasks
        assert all(task.digest == truth.digest(task) for task in rows.values())


# Twenty runs that CI makes; `make sim` makes more of them.
SEEDS = [
    *(Line("storm", seed) for seed in range(100, 111)),
    Line("churn", 100, ("jobs.0.tasks=1000",)),
    Line("churn-wide", 100, ("jobs.0.tasks=1000",)),
    Line("partitions", 100),
    Line("idlers", 100, ("jobs.0.tasks=600",)),
    Line("sleepers", 100, ("jobs.0.tasks=4000",)),
    Line("sybil", 100, ("jobs.0.tasks=1000",)),
    Line("liars", 100, ("jobs.0.tasks=1500",)),
    Line("honest", 100, ("jobs.0.tasks=5000",)),
    Line("scale", 100, ("crowd.0.count=5000", "jobs.0.tasks=3000")),
]


@pytest.mark.parametrize("line", SEEDS, ids=str)
def test_a_crowd_at_its_worst_breaks_no_promise(line: Line) -> None:
    assert run(line).fault == ""
