"""Nodes that follow the protocol to nobody's good: what they can make of one job, and of its owner, has a bound."""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import Outcome, Range, TaskState
from tests.unit.core.rig import Rig, of


def test_the_time_a_node_claims_is_bounded_by_how_long_it_had_the_task() -> None:
    """Protects an owner's share: one absurd number from one node would put all their jobs last for weeks."""
    rig = Rig()
    rig.submit(Range(0, 10, 1), owner="ada")
    node = rig.node(1)
    (key,) = rig.plan()
    rig.now += 500
    assert rig.report(node, key, wall_ms=limits.STORED_MAX) == ["counted"]
    assert rig.engine.state.usage["ada"].used <= 500


def test_a_node_that_gives_back_what_it_takes_is_not_offered_the_job_at_once() -> None:
    """Protects the store: lease and return would go round as fast as the hub commits, two rows each."""
    rig = Rig()
    rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    rig.do(c.Remainder(node, key, 0))
    rig.fetch(node, 1)
    assert rig.plan() == []
    rig.now += limits.FAILED_MS
    assert len(rig.plan()) == 1


def test_a_node_that_takes_lease_after_lease_back_is_not_offered_the_job_at_once() -> None:
    rig = Rig()
    rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    rig.do(c.Retract(node, key))
    rig.fetch(node, 1)
    assert rig.plan() == []


def test_the_part_said_to_be_done_is_not_split_again() -> None:
    """Protects deadlines and the store: each split is a new task with a new deadline, without any plan between."""
    rig = Rig()
    job = rig.submit(Range(0, 10, 10))
    node = rig.node(1)
    (key,) = rig.plan()
    (sent,) = of(e.Assign, rig.do(c.Remainder(node, key, 9)))
    (_, done), *_ = sent.leases
    assert of(e.Assign, rig.do(c.Remainder(node, done.key, 8))) == []
    assert [task.state for task in rig.tasks_of(job)] == [TaskState.SPLIT, TaskState.IN_QUEUE, TaskState.IN_QUEUE]


def test_answering_and_taking_back_does_not_go_round_without_end() -> None:
    """Protects jobs: one node could keep a task open for ever, with a row for each time."""
    rig = Rig()
    rig.submit(Range(0, 2, 1))
    node = rig.node()
    for _ in range(10):
        rig.fetch(node, 1)
        keys = rig.plan()
        if not keys:
            return
        rig.report(node, *keys)
        rig.do(c.Retract(node, keys[0]))
    raise AssertionError("the node was offered the task again and again")


def test_a_node_that_fails_everything_at_once_leaves_time_for_those_that_are_busy() -> None:
    """Protects jobs: ten failures end one, and a broken node is always free while the others work."""
    rig = Rig()
    job = rig.submit(Range(0, 2, 1))
    rig.node(1)
    assert len(rig.plan()) == 1  # the good node has its hands full
    broken = rig.node()
    failures = 0
    for _ in range(60):
        rig.fetch(broken, 1)
        for key in rig.plan():
            rig.report(broken, key, outcome=Outcome.NODE_ERROR)
            failures += 1
        rig.now += 1_000
    assert failures < 8
    assert job in rig.engine.state.jobs


def test_a_node_that_works_again_is_forgiven() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 9, 1))
    node, _ = rig.node(), rig.node()
    for outcome in (Outcome.NODE_ERROR, Outcome.NODE_ERROR, Outcome.OK):
        rig.fetch(node, 1)
        (key,) = rig.plan()
        rig.report(node, key, outcome=outcome)
        rig.now += 2 * limits.FAILED_MS
    assert rig.run(job).failed == {}
