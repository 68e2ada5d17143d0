"""The last look before a job is complete: what nodes answered alone since others last agreed with them."""

from __future__ import annotations

import pytest

from crowdgrid import limits
from crowdgrid.core import effects as e
from crowdgrid.core.model import JobState, TaskState
from crowdgrid.core.trust.policy import Policy
from tests.unit.core.rig import RECONNECT_MS, Rig, of
from tests.unit.core.test_doubting import HONEST_FOR, answers, sleeper
from tests.unit.core.test_voting import offer

UNAUDITED = Policy(audit_rate=0.0, closing_audits=3)
TASKS = 400


@pytest.mark.parametrize("page", [1, 2, 1000])
@pytest.mark.parametrize("lies", [1, 5, 40])
def test_who_lies_at_the_end_is_found_out_before_the_job_is_complete(
    lies: int, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECALL_ROWS", page)
    rig = Rig(policy=UNAUDITED)
    job, bad, good = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - lies, last=HONEST_FOR)
    assert rig.job(job).state is JobState.COMPLETED
    assert answers(rig, job) == [b"truth"] * HONEST_FOR
    assert rig.job(job).revision > 0, "a lie was delivered before, and whoever has it is told"
    assert all(rig.engine.state.standings.doubt(node, rig.kind) < 1e-3 for node in good)
    assert rig.engine.state.standings.doubt(bad, rig.kind) > 1e-3


def test_without_that_look_a_late_lie_would_stand() -> None:
    rig = Rig(policy=Policy(audit_rate=0.0, closing_audits=0))
    job, _, _ = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - 5, last=HONEST_FOR)
    assert answers(rig, job).count(b"lie") > 0


def test_honest_nodes_cost_a_few_runs_and_nobody_is_told_of_another_answer() -> None:
    rig = Rig(policy=UNAUDITED)
    job, *_ = sleeper(rig, TASKS, lies_at=TASKS, last=TASKS)
    assert rig.job(job).state is JobState.COMPLETED
    assert rig.job(job).revision == 0
    tasks = rig.tasks_of(job)
    begun = next(at for at, task in enumerate(tasks) if task.attempts == 1)  # who is known well needs nobody else
    again = [task for task in tasks[begun:] if task.attempts > 1]
    assert 1 <= len(again) <= 3 * UNAUDITED.closing_audits
    assert all(len(task.voters) == 16 and task.confidence > 0.999 for task in again)


def test_in_a_job_of_few_tasks_few_are_looked_at() -> None:
    rig = Rig(policy=UNAUDITED)
    _, bad, good = sleeper(rig, TASKS, lies_at=TASKS, last=TASKS)
    few = 0
    for _ in range(20):
        job = rig.submit(consensus="bounded_error", error_bound=1e-3)
        for _ in range(20):
            for node, key in offer(rig, [bad, *good], slots=10):
                rig.report(node, key, answer=b"truth")
        assert rig.job(job).state is JobState.FINAL
        few += sum(task.attempts > 1 for task in rig.tasks_of(job))
    assert 0 < few <= 30, "about one in twenty"


def test_nobody_is_waited_for_who_is_not_there() -> None:
    """The only other nodes have gone: what was answered alone stands as it did before there was a last look."""
    rig = Rig(policy=UNAUDITED)
    _, bad, good = sleeper(rig, TASKS, lies_at=TASKS, last=TASKS)
    for node in good:
        rig.disconnect(node)
    job = rig.submit(consensus="bounded_error", error_bound=1e-3)
    for _ in range(20):
        for node, key in offer(rig, [bad]):
            rig.report(node, key, answer=b"truth")
    assert rig.job(job).state is JobState.FINAL


def test_it_goes_on_after_a_restart() -> None:
    rig = Rig(policy=UNAUDITED)
    rig.deaf = True
    job, bad, good = sleeper(rig, HONEST_FOR, lies_at=HONEST_FOR - 5, last=HONEST_FOR)
    assert rig.job(job).state is JobState.SEALED, "it is not complete before it was looked at"
    assert rig.job(job).counts.validated == HONEST_FOR
    rig.deaf = False
    rig.restart()
    assert rig.job(job).state is JobState.SEALED, "its nodes have not had the time to come back"
    for node in (bad, *good):
        rig.connect(node)
    rig.wait(RECONNECT_MS)
    assert any(task.state is TaskState.IN_QUEUE for task in rig.tasks_of(job))
    rig.restart()  # with tasks open that want one more vote
    for node in (bad, *good):
        rig.connect(node)
    for _ in range(300):
        for node, key in offer(rig, [bad, *good]):
            rig.report(node, key, answer=b"truth")
        rig.wait(1_000)
        if rig.job(job).state is JobState.COMPLETED:
            break
    assert rig.job(job).state is JobState.COMPLETED
    assert answers(rig, job) == [b"truth"] * HONEST_FOR
    assert rig.job(job).revision > 0, "another answer stands, also where a restart came between"


def test_after_a_restart_nodes_that_do_not_come_back_are_not_waited_for() -> None:
    rig = Rig(policy=UNAUDITED)
    rig.deaf = True
    job, *_ = sleeper(rig, TASKS, lies_at=TASKS, last=TASKS)
    rig.deaf = False
    rig.restart()
    rig.wait(RECONNECT_MS)
    assert rig.job(job).state is JobState.COMPLETED


def test_it_is_said_why_a_task_is_open_again() -> None:
    rig = Rig(policy=UNAUDITED)
    rig.deaf = True
    _, bad, good = sleeper(rig, TASKS, lies_at=TASKS, last=TASKS)
    rig.deaf = False
    rig.restart()
    for node in (bad, *good):
        rig.connect(node)
    told = of(e.TaskChanged, rig.wait(RECONNECT_MS))
    assert told
    assert all("one more node before the job is complete" in change.why for change in told)
