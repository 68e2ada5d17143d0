"""Nodes and their way to the hub: leases run out when a node is silent and not before, and idle nodes cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crowdgrid import limits
from crowdgrid.core.model import Verdict
from crowdgrid.simulation.hub import due
from crowdgrid.simulation.node import Member
from crowdgrid.simulation.world import World
from tests.simulation.scenes import scenario, world

LONG = {"name": "long", "tasks": 1, "unit_ms": 3_600_000.0}
ONE = {"name": "machine", "count": 1, "ahead": 0}


def _until(running: World, seconds: float) -> World:
    running.advance(seconds)
    return running


def _leases(running: World) -> int:
    assert running.hub is not None
    return len(running.hub.engine.state.leases)


def test_idle_nodes_cost_no_events_and_no_commands() -> None:
    """A thousand nodes and nothing to do: an hour costs the hub's ticks and nothing else."""
    running = _until(
        world(crowd=[{"name": "machines", "count": 1000}], jobs=[{"name": "later", "tasks": 1, "at_s": 9999.0}]), 60
    )
    events, commands = running.timeline.happened, running.commands
    _until(running, 3660)
    ticks = 3_600_000 // limits.TICK_MS
    assert running.commands - commands <= ticks + 10
    assert running.timeline.happened - events <= ticks + 1_500  # samples, and looks at who starves
    assert running.hub is not None
    assert len(running.hub.engine.state.offering) == 1000


def test_a_lease_lasts_as_long_as_its_node_works() -> None:
    """An hour's task on one node: its heartbeats are not events, and its lease holds all the same."""
    running = world(crowd=[ONE], jobs=[LONG])
    found = running.run()
    assert (found.fault, found.leased, found.jobs[0].lost) == ("", 1, 0)


def test_the_lease_of_a_silent_node_runs_out_after_its_time_and_not_before() -> None:
    running = _until(world(crowd=[ONE], jobs=[LONG]), 1_000)
    assert _leases(running) == 1
    running.crowd[0].leave(silent=True)
    _until(running, 1_000 + limits.LEASE_SECONDS - 1)
    assert _leases(running) == 1
    _until(running, 1_000 + limits.LEASE_SECONDS + 3)
    assert _leases(running) == 0


def test_a_node_that_says_good_bye_is_waited_for_shortly() -> None:
    running = _until(world(crowd=[ONE], jobs=[LONG]), 1_000)
    running.crowd[0].leave(silent=False)
    _until(running, 1_000 + limits.RECONNECT_SECONDS - 1)
    assert _leases(running) == 1
    _until(running, 1_000 + limits.RECONNECT_SECONDS + 3)
    assert _leases(running) == 0


def test_others_silence_does_not_end_a_living_nodes_lease() -> None:
    running = _until(world(crowd=[ONE, {**ONE, "name": "other"}], jobs=[{**LONG, "tasks": 2}]), 1_000)
    assert _leases(running) == 2
    running.crowd[0].leave(silent=True)
    _until(running, 1_200)
    assert [lease.assignment.node for lease in running.hub.engine.state.leases.values()] == [running.crowd[1].number]  # type: ignore[union-attr]


def test_a_dead_link_is_noticed_and_replaced_and_the_work_goes_on() -> None:
    running = _until(world(crowd=[ONE], jobs=[LONG]), 1_000)
    member = running.crowd[0]
    session = member.session
    member.die()
    _until(running, 1_040)
    assert member.up
    assert member.session > session
    assert _leases(running) == 1
    assert running.run().jobs[0].lost == 0


def test_a_task_past_its_deadline_is_taken_away_although_its_node_lives() -> None:
    """Nobody is silent, so silence need not be judged; the deadline still is."""
    running = world(crowd=[ONE], jobs=[{**LONG, "timeout_s": 60.0, "stale_ceiling": 1}], run={"must_finish": False})
    _until(running, 4 * 60 + limits.DEADLINE_SLACK_MS / 1000 - 1)
    assert _leases(running) == 1
    _until(running, 4 * 60 + limits.DEADLINE_SLACK_MS / 1000 + 3)
    assert _leases(running) == 0


def test_short_partitions_delay_and_long_ones_cost_leases() -> None:
    jobs = [{"name": "sweep", "tasks": 40, "unit_ms": 300_000.0}]

    def lost(seconds: float) -> int:
        network = {"partitions": [{"at_s": 100.0, "for_s": seconds, "share": 1.0}]}
        found = world(jobs=jobs, network=network).run()
        assert found.fault == ""
        return found.jobs[0].lost

    assert lost(10.0) == 0
    assert lost(45.0) == 0
    assert lost(200.0) > 0


def test_frames_of_a_link_keep_their_order_unless_told_otherwise() -> None:
    def order(**network: Any) -> list[int]:
        running = _until(world(network={"delay_ms": [1, 500], **network}), 1)
        member = running.crowd[0]
        seen: list[int] = []
        last = 0
        for number in range(50):
            last = running.network.carry(member, last, seen.append, number)
        _until(running, 100)
        return seen

    assert order() == list(range(50))
    mixed = order(reorder=0.5)
    assert mixed != sorted(mixed)
    assert sorted(mixed) == list(range(50))
    twice = order(duplicate=0.5)
    assert len(twice) > 50
    assert sorted(set(twice)) == list(range(50))


def test_what_a_node_answered_is_kept_until_it_is_judged() -> None:
    """It goes off before it hears the verdict: when it is back it reports again, and is told that it was counted."""
    running = world(crowd=[ONE], jobs=[{"name": "sweep", "tasks": 1}, {"name": "later", "tasks": 1, "at_s": 2000.0}])
    member = _first_with(running, lambda one: bool(one.under_way))
    member.leave(silent=True)
    member.come_back(member.boots)
    assert running.run().fault == ""
    assert member.spool == {}
    assert running.verdicts[Verdict.DUPLICATE] == 1


def _first_with(running: World, happens: Callable[[Member], bool]) -> Member:
    running.advance(0)
    while True:
        running.timeline.step()
        for member in running.crowd:
            if happens(member):
                return member


@pytest.mark.parametrize(("at", "found"), [(0, []), (3, [1, 2]), (9, [1, 2, 3, 4])])
def test_who_is_looked_at_now_is_read_off_the_heap(at: int, found: list[int]) -> None:
    heap = [(1, 1), (2, 2), (5, 3), (9, 4), (3, 2), (7, 1), (30, 5)]
    assert sorted(due(heap, at)) == found
    assert len(heap) == 7


def test_adding_nodes_leaves_what_the_others_do_as_it_was() -> None:
    crowd = [{"name": "erring", "count": 30, "behaviour": {"kind": "erring", "rate": 0.3}, "speed_spread": 0.5}]
    alone = World(scenario(crowd=crowd), 3)
    more = World(scenario(crowd=[*crowd, {"name": "more", "count": 5}]), 3)
    for one in (alone, more):
        one.advance(0)
    pairs = list(zip(alone.crowd, more.crowd))
    assert len(pairs) == 30
    assert all(a.speed == b.speed and a.luck == b.luck for a, b in pairs)
