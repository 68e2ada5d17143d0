"""Retry: what failed is run again, page by page, also when the job has ended, and nothing is counted twice."""

from __future__ import annotations

import pytest

from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.engine import saved
from crowdgrid.core.model import Assignment, AssignmentState, Items, JobState, Outcome, Range, TaskState
from crowdgrid.errors import Conflict, NotFound
from tests.unit.core.memory_grid import small_limits
from tests.unit.core.rig import RECONNECT_MS, Rig, of
from tests.unit.core.truth import audit


def _retry(rig: Rig, job: int) -> list[e.Effect]:
    return rig.do(c.Retry(job, rig.job(job)))


def _failed(errors: int = 2) -> tuple[Rig, int, int]:
    """A job that failed with some tasks settled, one in error, some held and some waiting."""
    rig = Rig()
    job = rig.submit(Range(0, 20, 1), max_errors=errors)
    node = rig.node(8)
    keys = rig.plan()
    rig.report(node, *keys[:3])
    rig.report(node, *keys[3 : 3 + errors], outcome=Outcome.PROGRAM_ERROR)
    assert rig.job(job).state is JobState.FAILED
    return rig, job, node


def test_a_failed_job_is_taken_up_where_it_ended() -> None:
    with small_limits():
        rig, job, node = _failed()
        _retry(rig, job)
        audit(rig, [job])
        assert not rig.job(job).retrying
        rig.finish(job, node)
        audit(rig, [job])
    ended = rig.job(job)
    assert (ended.state, ended.reason) == (JobState.FINAL, "")
    assert (ended.counts.validated, ended.counts.errors, ended.counts.tasks) == (20, 0, 20)


def test_a_final_job_runs_its_failed_items_again_and_only_them() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 4, 1))
    node = rig.node(4)
    keys = rig.plan()
    rig.report(node, *keys[:3])
    rig.report(node, keys[3], outcome=Outcome.PROGRAM_ERROR)
    assert rig.job(job).state is JobState.FINAL
    _retry(rig, job)
    rig.fetch(node, 9)
    assert rig.plan() == [(job, 3, 1)]
    rig.report(node, (job, 3, 1))
    ended = rig.job(job)
    assert (ended.state, ended.counts.errors, ended.revision) == (JobState.FINAL, 0, 1)


def test_an_abandoned_task_gets_its_chances_anew() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 1, 1), stale_ceiling=1)
    node = rig.node(1)
    rig.plan()
    rig.disconnect(node)
    rig.wait(RECONNECT_MS)
    assert rig.task(job, 0).state is TaskState.ABANDONED
    _retry(rig, job)
    assert (rig.task(job, 0).state, rig.task(job, 0).stale) == (TaskState.IN_QUEUE, 0)
    rig.connect(node)
    rig.finish(job, node)
    assert rig.job(job).state is JobState.FINAL


def test_a_retry_with_nothing_to_do_leaves_the_job_final() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 3, 1))
    rig.finish(job, rig.node())
    before = rig.job(job)
    rig.now += 5_000
    _retry(rig, job)
    assert rig.job(job).state is JobState.FINAL
    assert rig.job(job).counts == before.counts


@pytest.mark.parametrize("end", ["cancelled", "invalid", "hit"])
def test_what_cannot_be_retried_is_refused(end: str) -> None:
    rig = Rig()
    if end == "invalid":
        job = rig.submit(checked=False)
        rig.do(c.Checked(job, "It is no program."))
    elif end == "cancelled":
        job = rig.submit()
        rig.do(c.Cancel(job))
    else:
        job = rig.submit(reduce="first")
        node = rig.node(1)
        rig.report(node, *rig.plan(), hit=True)
    with pytest.raises(Conflict):
        _retry(rig, job)
    assert not rig.engine.state.jobs


def test_a_job_still_looked_at_or_never_seen_has_nothing_to_retry() -> None:
    rig = Rig()
    job = rig.submit(checked=False)
    with pytest.raises(NotFound):
        _retry(rig, job)
    with pytest.raises(NotFound):
        rig.do(c.Retry(77))


def test_a_record_older_than_the_end_of_a_job_does_not_bring_it_back() -> None:
    """Protects a cancel: the retry was asked for with what the store said just before."""
    rig = Rig()
    job = rig.submit(Items())
    old = rig.job(job)
    assert old.state is JobState.OPEN
    rig.do(c.Cancel(job))
    with pytest.raises(Conflict):
        rig.do(c.Retry(job, old))
    assert not rig.engine.state.jobs


def test_a_running_job_is_retried_without_counting_twice_what_settles_meanwhile() -> None:
    """Protects exactly-once: a page read before a task settled says that it is open."""
    rig = Rig()
    job = rig.submit(Range(0, 3, 1))
    node = rig.node(3)
    keys = rig.plan()
    rig.report(node, keys[0], outcome=Outcome.PROGRAM_ERROR)
    engine = rig.engine
    asked = of(e.Recall, engine.handle(c.Retry(job), rig.now))
    page = rig.read(asked[0])
    assert keys[1][1] in {task.ordinal for task in page.tasks}
    rig.report(node, keys[1])
    for recall in of(e.Recall, rig.do(page)):
        rig.do(rig.read(recall))
    rig.finish(job, node)
    assert rig.report(node, keys[2]) == ["duplicate"] or rig.job(job).counts.validated == 3
    assert rig.job(job).counts.validated == 3
    audit(rig, [job])


def test_a_retry_goes_on_after_a_restart() -> None:
    with small_limits():
        rig, job, node = _failed()
        rig.write(rig.engine.handle(c.Retry(job, rig.job(job)), rig.now))
        assert rig.job(job).retrying
        rig.restart()
        audit(rig, [job])
        rig.connect(node)
        rig.finish(job, node)
    assert (rig.job(job).state, rig.job(job).counts.validated) == (JobState.FINAL, 20)


def test_a_retry_whose_page_was_lost_goes_on_when_it_is_asked_for_again() -> None:
    with small_limits():
        rig, job, node = _failed()
        rig.write(rig.engine.handle(c.Retry(job, rig.job(job)), rig.now))
        _retry(rig, job)
        assert not rig.job(job).retrying
        audit(rig, [job])
        rig.finish(job, node)
    assert rig.job(job).counts.validated == 20


def test_new_errors_while_pages_come_in_do_not_end_the_job_before_the_old_ones_are_opened() -> None:
    rig, job, node = _failed(errors=2)
    engine = rig.engine
    first = engine.handle(c.Retry(job, rig.job(job)), rig.now)
    rig.write(first)
    rig.fetch(node, 1)
    (new,) = rig.plan()
    rig.report(node, new, outcome=Outcome.PROGRAM_ERROR)
    assert (rig.job(job).state, rig.job(job).counts.errors) == (JobState.SEALED, 3)
    for recall in of(e.Recall, first):
        rig.do(rig.read(recall))
    assert rig.job(job).state is JobState.SEALED
    rig.finish(job, node)
    assert rig.job(job).state is JobState.FINAL


def _begun(rig: Rig, job: int) -> c.Recalled:
    """A retry whose first page has been read and not delivered."""
    effects = rig.engine.handle(c.Retry(job, rig.job(job)), rig.now)
    rig.write(effects)
    return rig.read(of(e.Recall, effects)[0])


def test_a_task_opened_and_settled_again_between_reading_and_hearing_a_page_is_not_taken_up_again() -> None:
    """Protects exactly-once: the page says that the task is open, and it was."""
    rig, job, node = _failed()
    rig.write(rig.engine.handle(c.Retry(job, rig.job(job)), rig.now))
    rig.do(c.Retract(node, (job, 0, 0)))
    rig.fetch(node, 1)
    assert rig.plan() == [(job, 0, 1)]
    page = _begun(rig, job)
    assert (0, TaskState.IN_PROGRESS) in {(task.ordinal, task.state) for task in page.tasks}
    rig.report(node, (job, 0, 1))
    rig.do(page)
    audit(rig, [job])
    rig.finish(job, node)
    assert rig.job(job).counts.validated == 20


def test_a_failed_task_opened_and_settled_again_between_reading_and_hearing_a_page_is_left_alone() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 3, 1))
    node = rig.node(2)
    keys = rig.plan()
    rig.report(node, keys[0], outcome=Outcome.PROGRAM_ERROR)
    (asked,) = of(e.Recall, rig.engine.handle(_begun(rig, job), rig.now))
    page = rig.read(asked)
    assert [task.ordinal for task in page.tasks] == [0]
    rig.do(c.Retract(node, keys[0]))
    rig.fetch(node, 1)
    assert rig.plan() == [(job, 0, 1)]
    rig.report(node, (job, 0, 1))
    before = rig.job(job).counts
    rig.do(page)
    assert rig.job(job).counts == before
    audit(rig, [job])


def test_of_two_retries_at_once_only_the_pages_of_the_last_are_heard() -> None:
    with small_limits():
        rig, job, node = _failed()
        first = _begun(rig, job)
        second = _begun(rig, job)
        rig.do(first)
        assert rig.job(job).retrying
        rig.do(second)
        assert not rig.job(job).retrying
        rig.finish(job, node)
        rig.do(first)
        audit(rig, [job])
    assert rig.job(job).counts.validated == 20


def test_a_task_given_up_after_the_hit_does_not_fail_the_job() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 6, 1), reduce="first", max_errors=1, stale_ceiling=1)
    node = rig.node(2)
    rig.report(node, rig.plan()[0], outcome=Outcome.PROGRAM_ERROR)
    page = _begun(rig, job)
    rig.fetch(node, 2)
    keys = rig.plan()
    rig.report(node, keys[0], hit=True)
    rig.report(node, keys[1], outcome=Outcome.NODE_ERROR)
    assert rig.job(job).counts.abandoned == 1
    rig.do(page)
    assert (rig.job(job).state, rig.job(job).hit) == (JobState.FINAL, keys[0][1])


def test_a_hit_while_pages_come_in_ends_the_job_when_they_are_in() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 6, 1), reduce="first", max_errors=1)
    node = rig.node(2)
    keys = rig.plan()
    rig.report(node, keys[0], outcome=Outcome.PROGRAM_ERROR)
    first = rig.engine.handle(c.Retry(job, rig.job(job)), rig.now)
    rig.write(first)
    rig.fetch(node, 1)
    (new,) = rig.plan()
    rig.report(node, new, hit=True)
    for recall in of(e.Recall, first):
        rig.do(rig.read(recall))
    assert (rig.job(job).state, rig.job(job).hit) == (JobState.FINAL, new[1])


def test_what_was_leased_when_the_job_ended_is_not_leased_still_after_a_retry_and_a_restart() -> None:
    """Protects tasks from holders that were told to drop them."""
    rig, job, _ = _failed()
    _retry(rig, job)
    rig.restart()
    assert not rig.engine.state.leases
    rows: list[Assignment] = [a for ordinal in range(8) for a in rig.assignments(job, ordinal)]
    assert AssignmentState.LEASED not in {row.state for row in rows}
    assert saved(rig.engine).assignments == ()


def test_a_late_answer_for_a_job_that_is_retried_is_welcome() -> None:
    rig, job, node = _failed()
    held = (job, 5, 0)
    _retry(rig, job)
    assert rig.report(node, held) == ["counted"]
    rig.finish(job, node)
    assert rig.job(job).counts.validated == 20
    audit(rig, [job])
