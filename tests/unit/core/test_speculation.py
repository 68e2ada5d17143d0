"""A job's last tasks are given to one more node when they are late: when, to whom, and what comes of the copies."""

from __future__ import annotations

from typing import Any

import pytest

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import AssignmentState, JobState, Range, TaskState
from crowdgrid.core.scheduling.availability import stays
from crowdgrid.core.scheduling.ranking import RANKINGS, Offer
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import Rig, of

SECOND = 1_000


def tail(rig: Rig, **spec: Any) -> tuple[int, int, int]:
    """A job of ten tasks: nine are done in ten seconds each, the tenth is with a node that is silent about it."""
    job = rig.submit(Range(0, 10, 1), **spec)
    slow, quick = rig.node(1, owner="slow"), rig.node(owner="quick")
    [(_, late)] = rig.leases()
    for _ in range(9):
        rig.fetch(quick, 1)
        [(_, given)] = rig.leases()
        rig.wait(10 * SECOND, beat=(slow, (late.key,)))
        rig.report(quick, given.key)
    return job, slow, quick


def beat(rig: Rig, node: int, ms: int) -> None:
    rig.wait(ms, beat=(node, tuple(rig.engine.state.nodes[node].held)))


def test_a_late_task_is_given_to_one_more_node_and_the_first_answer_counts() -> None:
    rig = Rig()
    job, slow, quick = tail(rig)
    rig.fetch(quick, 1)
    assert rig.engine.wants_plan
    effects = rig.do(c.Plan())
    [assign] = of(e.Assign, effects)
    [(task, copy)] = assign.leases
    assert (assign.node, copy.node, copy.attempt) == (quick, quick, 1)
    assert "takes longer than others" in of(e.TaskChanged, effects)[0].why
    told = rig.do_report(quick, copy.key)
    assert [each.node for each in of(e.Withdraw, told)] == [slow]
    assert rig.job(job).state is JobState.FINAL
    [first, _] = rig.assignments(job, task.ordinal)
    assert first.state is AssignmentState.CANCELLED
    assert rig.record(slow).lost == 0


def test_who_is_late_and_first_all_the_same_counts() -> None:
    rig = Rig()
    job, slow, quick = tail(rig)
    rig.fetch(quick, 1)
    [(_, copy)] = rig.leases()
    told = rig.do_report(slow, (job, copy.ordinal, 0))
    assert [each.node for each in of(e.Withdraw, told)] == [quick]
    assert rig.job(job).state is JobState.FINAL


def test_there_is_one_copy_and_when_it_is_lost_another() -> None:
    rig = Rig()
    job, slow, quick = tail(rig)
    rig.fetch(quick, 2)
    [(_, copy)] = rig.leases()
    beat(rig, slow, 5 * SECOND)
    assert rig.leases() == []
    rig.do(c.Decline(quick, (copy.key,), "Not now."))
    third = rig.node(1, owner="third")
    rig.wait(2 * SECOND, beat=(slow, ((job, copy.ordinal, 0),)))
    assert [(node, given.attempt) for node, given in rig.leases()] == [(third, 2)]


def test_when_the_late_node_is_lost_the_copy_goes_on() -> None:
    rig = Rig()
    job, slow, quick = tail(rig)
    rig.fetch(quick, 1)
    [(_, copy)] = rig.leases()
    rig.disconnect(slow)
    rig.wait(20 * SECOND, beat=(quick, (copy.key,)))
    assert rig.task(job, copy.ordinal).state is TaskState.IN_PROGRESS
    rig.report(quick, copy.key)
    assert rig.job(job).state is JobState.FINAL


def test_a_task_that_is_not_older_than_half_of_them_were_is_waited_for() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 10, 1))
    node = rig.node()
    for _ in range(9):
        rig.fetch(node, 1)
        [(_, given)] = rig.leases()
        rig.wait(10 * SECOND, beat=(node, (given.key,)))
        rig.report(node, given.key)
    rig.fetch(node, 1)
    [(_, last)] = rig.leases()
    other = rig.node(1)
    beat(rig, node, 8 * SECOND)
    assert rig.leases() == []
    beat(rig, node, 4 * SECOND)
    assert [who for who, _ in rig.leases()] == [other]
    assert last.job == job


@pytest.mark.parametrize(
    ("policy", "spec"),
    [
        (Policy(speculate=False), {}),
        (Policy(), {"consensus": "majority", "overlap": 2}),
        (Policy(), {"runtime": "python"}),  # a function may do something, and should not do it twice at once
    ],
    ids=["switched off", "voted on", "no sandbox"],
)
def test_where_there_are_none(policy: Policy, spec: dict[str, Any]) -> None:
    rig = Rig(policy=policy)
    job = rig.submit(Range(0, 10, 1), **spec)
    nodes = [rig.node(owner=f"owner {at}", runtimes=("wasm", "python"), trusts=("everyone",)) for at in range(3)]
    for _ in range(200):
        if rig.run(job).validated == 9:
            break
        for node in nodes[:2]:
            rig.fetch(node, 1)
        given = rig.leases()
        rig.wait(SECOND, beat=(nodes[0], ()))
        for node, each in given:
            if each.ordinal < 9:
                rig.report(node, each.key)
    assert rig.run(job).validated == 9
    beat(rig, nodes[0], 5 * SECOND)
    rig.fetch(nodes[2], 1)
    assert all(each.ordinal == 9 and each.attempt < 2 for _, each in rig.leases())


def test_work_that_waits_goes_first() -> None:
    rig = Rig()
    _, _, quick = tail(rig)
    other = rig.submit(Range(0, 1, 1))
    rig.fetch(quick, 1)
    assert [given.job for _, given in rig.leases()] == [other]


def test_a_restart_in_between_leaves_one_answer() -> None:
    rig = Rig()
    job, slow, quick = tail(rig, consensus="single")
    rig.fetch(quick, 1)
    [(_, copy)] = rig.leases()
    rig.restart()
    for node in (slow, quick):
        rig.connect(node)
    rig.report(quick, copy.key)
    assert rig.job(job).state is JobState.FINAL
    assert rig.job(job).counts.validated == 10


# --- which node ----------------------------------------------------------------------------------


def offer(**told: Any) -> Offer:
    facts: dict[str, Any] = {"milli_cpus": 4000, "memory_bytes": 8 << 30, "load": 0, "given": 0, "seconds": 0.0}
    return Offer(**{**facts, "stays": 1.0, **told})


def test_crowd_prefers_who_is_done_first_and_stays() -> None:
    cost = RANKINGS["crowd"].cost
    assert cost(offer(seconds=10)) < cost(offer(seconds=20))
    assert cost(offer(seconds=10, stays=0.9)) < cost(offer(seconds=10, stays=0.5))
    assert cost(offer(seconds=18)) < cost(offer(seconds=10, stays=0.5)), "doing it twice takes longer"
    assert cost(offer(seconds=10)) < cost(offer(seconds=10, load=500))
    assert cost(offer(stays=0.9)) < cost(offer(stays=0.2)), "also where no speed is known"


def test_weighted_round_robin_gives_large_nodes_more() -> None:
    rule = RANKINGS["weighted_round_robin"]
    given = {"small": 0, "large": 0}
    size = {"small": (1000, 2 << 30), "large": (4000, 4 << 30)}  # weights 2 and 6
    for _ in range(80):
        costs = {
            name: rule.cost(offer(milli_cpus=size[name][0], memory_bytes=size[name][1], given=count))
            for name, count in given.items()
        }
        given[min(costs, key=lambda name: costs[name])] += 1
    assert given == {"small": 20, "large": 60}


def test_a_quick_node_is_chosen_by_the_hubs_default() -> None:
    rig = Rig("crowd")
    first = rig.submit(Range(0, 12, 1))
    slow, quick = rig.node(), rig.node()
    for _ in range(3):
        for node, ms in ((slow, 9_000), (quick, 1_000)):
            rig.fetch(node, 1)
            for _, given in rig.leases():
                rig.report(node, given.key, wall_ms=ms)
    for node in (slow, quick):
        rig.fetch(node, 1)
    [(chosen, given), _] = rig.leases()
    assert (chosen, given.job) == (quick, first)


def test_who_has_been_here_for_long_stays_long() -> None:
    hour = 3600.0
    assert stays(0, 0) == 1.0
    assert stays(0, 2.964 * hour) == pytest.approx(0.368, abs=1e-3), "the scale of the distribution"
    assert stays(100 * hour, hour) > stays(10 * hour, hour) > stays(0, hour)
    assert stays(0, 1.2 * hour) == pytest.approx(0.5, abs=0.01), "the published median is 1.2 h"
