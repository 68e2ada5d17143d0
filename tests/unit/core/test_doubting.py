"""A node that is found out: what it answered before and is not final is judged again, page by page, after restarts too."""

from __future__ import annotations

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import JobState, Range, TaskState
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.memory_grid import small_limits
from tests.unit.core.rig import Rig, of, reported
from tests.unit.core.test_voting import offer, people

HOUR = 3_600_000
HONEST_FOR = 400


def sleeper(rig: Rig, tasks: int, *, lies_at: int, last: int) -> tuple[int, int, list[int]]:
    """A job whose tasks are done by a node that lies from task `lies_at` to `last` and by two that never do. Work is
    offered to the sleeper first; the job, the sleeper and the others."""
    job = rig.submit(Range(0, tasks, 1), consensus="bounded_error", error_bound=1e-3, final_after_ms=HOUR)
    bad, *good = people(rig, 3)
    for _ in range(tasks * 4):
        if rig.engine.state.jobs[job].state is JobState.COMPLETED:
            break
        for node, key in offer(rig, [bad, *good]):
            lie = node == bad and lies_at <= key[1] < last
            rig.report(node, key, answer=b"lie" if lie else b"truth")
    return job, bad, good


def caught(rig: Rig, job: int, bad: int, good: list[int]) -> list[e.Effect]:
    """A job of one task in which the bad node is outvoted; all that came of it."""
    effects: list[e.Effect] = []
    for _ in range(20):
        for node, key in offer(rig, [bad, *good]):
            told = (reported(key, answer=b"lie" if node == bad else b"truth"),)
            effects += rig.do(c.Report(node, told))
    assert job not in rig.engine.state.jobs, "the others decide"
    return effects


def answers(rig: Rig, job: int) -> list[bytes]:
    found = []
    for row in rig.settled(job):
        assert row.assignment is not None
        assert row.assignment.result is not None
        found.append(row.assignment.result.payload)
    return found


@pytest.mark.parametrize("page", [2, 1000])
def test_no_lie_of_a_sleeper_stands_once_it_is_caught(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(limits, "RECALL_ROWS", page)
    rig = Rig(policy=Policy(audit_rate=0.05))
    job, bad, good = sleeper(rig, 700, lies_at=HONEST_FOR, last=700)
    assert rig.job(job).state is JobState.COMPLETED
    assert rig.job(job).revision > 0, "it was delivered before, and whoever has it is told"
    assert answers(rig, job) == [b"truth"] * 700
    doubt = rig.engine.state.standings.doubt
    assert doubt(bad, rig.kind) > 0.05
    assert all(doubt(node, rig.kind) < 1e-3 for node in good)
    assert rig.engine.state.doubting == {}
    standing = rig.engine.state.standings.get(bad, rig.kind)
    assert standing is not None
    assert not standing.doubted


def test_what_stands_on_others_too_is_not_opened() -> None:
    rig = Rig(policy=Policy(audit_rate=0.05))
    job, bad, _ = sleeper(rig, 700, lies_at=HONEST_FOR, last=700)
    again = [task for task in rig.tasks_of(job) if task.voters and len(task.voters) > 16]
    alone = [task for task in rig.tasks_of(job) if bad.to_bytes(8, "big") == task.voters]
    assert alone == [], "nothing rests on the word of a liar"
    assert len(again) < 350


def test_a_submitter_is_told_why_a_task_was_opened_again() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0, closing_audits=0, canary_rate=0.0))
    job, bad, good = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - 5, last=HONEST_FOR)
    assert b"lie" in answers(rig, job), "nobody has looked yet"
    second = rig.submit(Range(0, 1, 1), consensus="bounded_error", error_bound=1e-6)
    effects = caught(rig, second, bad, good)
    why = [each.why for each in of(e.TaskChanged, effects) if each.task.job == job]
    assert why
    assert all("wrong elsewhere" in each for each in why)
    opened = [task for task in rig.tasks_of(job) if task.state is TaskState.IN_QUEUE]
    assert len(why) >= len(opened) >= 5
    assert rig.job(job).state is JobState.SEALED
    for _ in range(50):
        for node, key in offer(rig, good, slots=8):
            rig.report(node, key, answer=b"truth")
    assert set(answers(rig, job)) == {b"truth"}


def test_it_goes_on_after_a_restart() -> None:
    """Killed when the first page was asked for: it is begun anew, and nothing is left out."""
    rig = Rig(policy=Policy(audit_rate=0.0, closing_audits=0, canary_rate=0.0))
    job, bad, good = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - 5, last=HONEST_FOR)
    second = rig.submit(Range(0, 1, 1), consensus="bounded_error", error_bound=1e-6)
    rig.deaf = True  # the store answers nothing any more
    caught(rig, second, bad, good)
    assert rig.engine.state.doubting
    assert not any(task.state is TaskState.IN_QUEUE for task in rig.tasks_of(job))
    rig.deaf = False
    rig.restart()
    assert rig.engine.state.doubting == {}
    assert sum(task.state is TaskState.IN_QUEUE for task in rig.tasks_of(job)) >= 5


def test_what_is_final_stays() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0, closing_audits=0, canary_rate=0.0))
    job, bad, good = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - 5, last=HONEST_FOR)
    rig.wait(HOUR + 1_000)
    assert rig.job(job).state is JobState.FINAL
    for node in (bad, *good):
        rig.connect(node)
    second = rig.submit(Range(0, 1, 1), consensus="bounded_error", error_bound=1e-6)
    caught(rig, second, bad, good)
    assert rig.job(job).state is JobState.FINAL
    assert rig.job(job).revision == 0


def test_small_pages_and_two_liars_at_once_end() -> None:
    with small_limits():
        rig = Rig(policy=Policy(audit_rate=0.2))
        job = rig.submit(Range(0, 120, 1), consensus="bounded_error", error_bound=1e-2, final_after_ms=HOUR)
        nodes = people(rig, 5)
        for _ in range(2_000):
            if rig.engine.state.jobs[job].state is JobState.COMPLETED:
                break
            for node, key in offer(rig, nodes):
                lie = node in nodes[:2] and key[1] > 60
                rig.report(node, key, answer=b"lie %d" % node if lie else b"truth")
        assert rig.job(job).state is JobState.COMPLETED
        assert set(answers(rig, job)) == {b"truth"}
