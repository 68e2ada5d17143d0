"""Who is mostly wrong is hardly asked: each of its answers costs one more run, and says nothing."""

from __future__ import annotations

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.effects import Explanation
from crowdgrid.core.model import Range
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import Rig

POLICY = Policy(audit_rate=0.0, canary_rate=0.0, closing_audits=0)
HONEST, LIAR = 3, 1


def _rig() -> tuple[Rig, list[int], int]:
    """Three honest nodes and a liar that was found out."""
    rig = Rig("crowd", policy=POLICY)
    people = [rig.node(owner=f"owner-{at}") for at in range(HONEST + LIAR)]
    liar = people[-1]
    job = rig.submit(Range(0, 40, 1), consensus="bounded_error", error_bound=1e-3)
    while job in rig.engine.state.jobs:
        _turn(rig, people, liar)
    assert rig.engine.state.standings.doubt(liar, rig.kind) > limits.HOPELESS_DOUBT
    return rig, people, liar


def _turn(rig: Rig, people: list[int], liar: int, slots: int = 1) -> dict[int, int]:
    """Everybody offers itself and answers; how many tasks each was given."""
    rig.now += 1_000
    for node in people:
        rig.fetch(node, slots)
    given = dict.fromkeys(people, 0)
    for node, assignment in rig.leases():
        given[node] += 1
        rig.report(node, assignment.key, answer=b"%d" % rig.now if node == liar else b"right")
    return given


def test_who_is_mostly_wrong_is_given_one_task_a_minute() -> None:
    rig, people, liar = _rig()
    rig.now += 10 * limits.HOPELESS_REST_MS
    job = rig.submit(Range(0, 10_000, 1), consensus="bounded_error", error_bound=1e-3)
    turns = [_turn(rig, people, liar, slots=4) for _ in range(90)]
    assert sum(turn[liar] for turn in turns) == 2
    assert all(turn[people[0]] > 0 for turn in turns)
    told: Explanation = rig.reply(c.Why(job))
    assert "Its answers to this kind of program were mostly wrong; it is given the next task in" in str(told.rejected)


def test_a_job_that_does_not_bound_errors_asks_it_as_any_other() -> None:
    rig, people, liar = _rig()
    rig.submit(Range(0, 100, 1), consensus="majority", overlap=3)
    assert sum(_turn(rig, people, liar)[liar] for _ in range(5)) >= 4


def test_where_there_is_nobody_else_it_is_asked_all_the_same() -> None:
    """The job goes on, slowly; who has become honest is believed again in the end."""
    rig, people, _ = _rig()
    for node in people[:-2]:
        rig.disconnect(node)
    job = rig.submit(Range(0, 3, 1), consensus="bounded_error", error_bound=1e-3)
    turns = 0
    while job in rig.engine.state.jobs:
        _turn(rig, people[-2:], -1)
        turns += 1
        assert turns < 2_000
    assert rig.job(job).counts.validated == 3
