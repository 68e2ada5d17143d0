"""Tasks with known answers, mixed in: who gets them, what comes of them, and that nobody else is touched by them."""

from __future__ import annotations

from typing import Any

import pytest

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.canaries import FIRST
from crowdgrid.core.model import Assignment, AssignmentKey, AssignmentState, Outcome, Range, TaskState, Verdict
from crowdgrid.core.trust.comparison import Numeric
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import Rig, of
from tests.unit.core.test_voting import offer, people

ALWAYS = Policy(canary_rate=1.0, audit_rate=0.0, closing_audits=0)
JOB: dict[str, Any] = {"consensus": "bounded_error", "error_bound": 1e-3}


def begun(policy: Policy = ALWAYS, **spec: Any) -> tuple[Rig, int, list[int]]:
    """A job of which two nodes have answered twelve tasks together, and a third that has not been here before."""
    rig = Rig(policy=policy)
    job = rig.submit(Range(0, 2_000, 1), **{**JOB, **spec})
    a, b = people(rig, 2)
    while rig.run(job).validated < 12:
        for node, key in offer(rig, [a, b]):
            rig.report(node, key, answer=b"truth")
    return rig, job, [a, b, rig.node(owner="owner 9")]


def canary_of(rig: Rig, node: int, slots: int = 4) -> AssignmentKey:
    """The canary that is among what the node is given next."""
    [key] = [key for who, key in offer(rig, [node], slots) if who == node and key[2] >= FIRST]
    return key


def kept(rig: Rig, key: AssignmentKey) -> Assignment:
    """What the store has of an assignment."""
    [found] = [each for each in rig.assignments(*key[:2]) if each.key == key]
    return found


def test_a_newcomer_is_given_one_that_looks_like_any_other_task() -> None:
    rig, job, [_, _, new] = begun()
    rig.fetch(new, 4)
    [assign] = [each for each in of(e.Assign, rig.do(c.Plan())) if each.node == new]
    known = [(task, given) for task, given in assign.leases if given.attempt >= FIRST]
    assert len(known) == 1
    assert len(assign.leases) <= 4, "no more than it asked for"
    task, given = known[0]
    assert rig.task(job, task.ordinal).state is TaskState.VALIDATED
    others = {other.deadline_ms for _, other in assign.leases}
    assert others == {given.deadline_ms}


def test_a_right_answer_is_learned_from_and_is_no_vote() -> None:
    rig, job, [_, _, new] = begun()
    key = canary_of(rig, new)
    before = rig.run(job).record()
    assert rig.report(new, key, answer=b"truth") == [Verdict.COUNTED]
    standing = rig.engine.state.standings.get(new, rig.kind)
    assert standing is not None
    assert (standing.judged, round(standing.wrong, 3)) == (1, 0.0)
    assert rig.record(new).trust > 1.0
    assert rig.run(job).record().counts.validated == before.counts.validated
    assert rig.run(job).revision == 0
    assert kept(rig, key).state is AssignmentState.RETRACTED


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_colluders_meet_an_answer_others_gave(rate: float) -> None:
    """Two that agree on every lie look like two witnesses, but for canaries."""
    rig, job, [a, b, _] = begun(Policy(canary_rate=rate, audit_rate=0.0))
    bad = [rig.node(owner=f"friend {at}") for at in range(2)]
    for _ in range(12):
        for node, key in offer(rig, bad, 4):
            rig.report(node, key, answer=b"the same lie")
    doubt = rig.engine.state.standings.doubt
    if rate:
        assert all(doubt(node, rig.kind) > 0.02 for node in bad)
        assert all(doubt(node, rig.kind) < 0.01 for node in (a, b))
    else:
        assert all(doubt(node, rig.kind) < 0.002 for node in bad), "they are taken for honest ones"
    assert job in rig.engine.state.jobs


def test_nobody_is_given_what_it_or_its_owner_has_answered() -> None:
    rig, _, [a, b, _] = begun()
    friend = rig.node(owner="owner 0")
    for node in (a, b, friend):
        for _ in range(5):
            given = offer(rig, [node], 2)
            assert not [key for _, key in given if key[2] >= FIRST and key[1] < 12]
            rig.report(node, *[key for _, key in given], answer=b"truth")


def test_one_that_is_lost_is_forgotten_and_its_answer_still_taken() -> None:
    rig, job, [_, _, new] = begun()
    key = canary_of(rig, new)
    rig.restart()
    rig.connect(new)
    dropped = of(e.Withdraw, rig.do(c.Heartbeat(new, (key,))))
    assert [each.assignments for each in dropped] == [(key,)], "a hub that was started again does not know it"
    assert rig.report(new, key, answer=b"truth") == [Verdict.LATE_PAID]
    assert rig.report(new, key, answer=b"truth") == [Verdict.DUPLICATE]
    assert rig.run(job).revision == 0


def test_heartbeats_name_it_and_its_deadline_ends_it() -> None:
    rig, job, [_, _, new] = begun()
    given = [key for _, key in offer(rig, [new], 4)]
    [key] = [each for each in given if each[2] >= FIRST]
    assert of(e.Withdraw, rig.do(c.Heartbeat(new, tuple(given)))) == []
    deadline = kept(rig, key).deadline_ms
    rig.wait(deadline + 1_000, beat=(new, tuple(given)))
    assert rig.engine.state.canaries == {}
    assert kept(rig, key).state is AssignmentState.EXPIRED
    assert rig.task(job, key[1]).state is TaskState.VALIDATED


def test_given_back_or_failed_it_is_held_against_nobody() -> None:
    rig, job, [_, _, new] = begun()
    key = canary_of(rig, new)
    rig.do(c.Decline(new, (key,), "Not now."))
    assert kept(rig, key).state is AssignmentState.DECLINED
    key = canary_of(rig, new)
    assert rig.report(new, key, outcome=Outcome.NODE_ERROR) == [Verdict.COUNTED]
    key = canary_of(rig, new)
    rig.retract(new, key)
    assert kept(rig, key).state is AssignmentState.RETRACTED
    assert rig.engine.state.standings.get(new, rig.kind) is None
    assert rig.run(job).lost == 0


def test_an_answer_that_fell_is_no_canary_any_more() -> None:
    rig, job, [a, _, new] = begun()
    key = canary_of(rig, new)
    answered = next(each for each in rig.assignments(job, key[1]) if each.node == a)
    rig.retract(a, answered.key)
    assert rig.task(job, key[1]).state is TaskState.IN_QUEUE
    rig.report(new, key, answer=b"something else")
    assert rig.engine.state.standings.get(new, rig.kind) is None
    assert all(known.task.ordinal != key[1] for known in rig.run(job).known)


def test_where_answers_may_differ_or_one_is_enough_there_are_none() -> None:
    for spec in ({"comparison": Numeric(rtol=0.1)}, {"consensus": "majority", "overlap": 2}):
        rig, job, _ = begun(**spec)
        assert not rig.run(job).known
