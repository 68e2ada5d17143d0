"""Reports: one verdict each, counted once, whenever and however often they come; answers taken back."""

from __future__ import annotations

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import AssignmentState, JobState, Outcome, Partial, Range, TaskState, Verdict
from tests.unit.core.memory_grid import now_done
from tests.unit.core.rig import LEASE_MS, Rig, of, reported


def _leased(slots: int = 1) -> tuple[Rig, int, int, list[tuple[int, int, int]]]:
    rig = Rig()
    job = rig.submit()
    node = rig.node(slots)
    return rig, job, node, rig.plan()


def test_an_answer_settles_its_task_and_is_kept_with_it() -> None:
    rig, job, node, (key,) = _leased()
    effects = rig.do(c.Report(node, (reported(key, answer=b"42"),)))
    task = rig.task(job, 0)
    (assignment,) = rig.assignments(job, 0)
    assert (task.state, task.answer) == (TaskState.VALIDATED, 0)
    assert assignment.state is AssignmentState.REPORTED
    assert assignment.result is not None
    assert (assignment.result.payload, assignment.result.digest) == (b"42", task.digest)
    assert [(s.task, s.assignment) for s in of(e.Settled, effects)] == [(task, assignment)]


def test_a_report_twice_is_a_duplicate_and_counts_once() -> None:
    rig, job, node, (key,) = _leased()
    assert rig.report(node, key) == ["counted"]
    assert rig.report(node, key) == ["duplicate"]
    assert rig.job(job).counts.validated == 1


def test_a_result_twice_in_one_frame_counts_once() -> None:
    rig, job, node, (key,) = _leased()
    assert rig.report(node, key, key) == ["counted", "duplicate"]
    assert rig.job(job).counts.validated == 1


def test_another_answer_after_the_first_conflicts_and_changes_nothing() -> None:
    rig, job, node, (key,) = _leased()
    rig.report(node, key, answer=b"1")
    before = rig.task(job, 0)
    assert rig.report(node, key, answer=b"2") == ["conflicting"]
    assert rig.report(node, key, outcome=Outcome.PROGRAM_ERROR) == ["conflicting"]
    assert rig.task(job, 0) == before


def test_two_different_results_for_a_late_assignment_at_once_conflict() -> None:
    rig, _, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    assert rig.report(node, key, key) == ["duplicate", "counted"]
    rig, _, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    frame = c.Report(node, (reported(key, answer=b"1"), reported(key, answer=b"2")))
    effects = rig.do(frame)
    assert [v for a in of(e.Acknowledge, effects) for _, v in a.verdicts] == ["conflicting", "counted"]


def test_a_second_answer_that_is_another_one_costs_trust_and_the_same_again_nothing() -> None:
    rig = Rig()
    job, node = rig.submit(), rig.node(1, trust=5.0)
    (key,) = rig.plan()
    rig.report(node, key, answer=b"1")
    assert rig.report(node, key, answer=b"1") == ["duplicate"]
    assert rig.record(node).trust == 5.0
    assert rig.report(node, key, answer=b"2") == ["conflicting"]
    assert rig.record(node).trust == 4.5
    (move,) = now_done(rig.store.trust_moves(node))
    assert (move.job, move.ordinal, move.before, move.after) == (job, 0, 5.0, 4.5)


def test_two_answers_at_once_cost_trust_as_well() -> None:
    rig = Rig()
    rig.submit()
    node = rig.node(1, trust=5.0)
    (key,) = rig.plan()
    rig.wait(LEASE_MS)
    rig.connect(node)
    rig.do(c.Report(node, (reported(key, answer=b"1"), reported(key, answer=b"2"))))
    assert rig.record(node).trust == 4.5


def test_whoever_contradicts_itself_and_has_gone_is_no_longer_there_to_lose_trust() -> None:
    rig = Rig()
    rig.submit()
    node = rig.node(1, trust=5.0)
    (key,) = rig.plan()
    rig.report(node, key, answer=b"1")
    rig.disconnect(node)
    assert rig.report(node, key, answer=b"2") == ["conflicting"]
    assert rig.record(node).trust == 5.0


@pytest.mark.parametrize("when", ["held", "reported", "expired"])
def test_a_report_for_somebody_elses_assignment_is_not_yours(when: str) -> None:
    rig, job, node, (key,) = _leased()
    if when == "reported":
        rig.report(node, key)
    elif when == "expired":
        rig.wait(LEASE_MS)
    before = rig.tasks_of(job)
    assert rig.report(rig.node(), key) == ["not_yours"]
    assert rig.tasks_of(job) == before


def test_a_report_for_what_never_was_is_unknown() -> None:
    rig, job, node, _ = _leased()
    assert rig.report(node, (job, 0, 5), (job, 99, 0), (99, 0, 0)) == ["unknown"] * 3


def test_a_late_answer_is_welcome_while_its_task_is_open() -> None:
    """Protects work done: a node that was cut off for an hour still settles what nobody else has done."""
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    assert rig.report(node, key) == ["counted"]
    task = rig.task(job, 0)
    assert (task.state, task.answer, rig.job(job).counts.in_queue) == (TaskState.VALIDATED, 0, 0)


def test_a_late_answer_withdraws_the_work_of_whoever_does_it_now() -> None:
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    other = rig.node(1)
    assert rig.plan() == [(job, 0, 1)]
    effects = rig.do(c.Report(node, (reported(key),)))
    assert [(w.node, w.assignments) for w in of(e.Withdraw, effects)] == [(other, ((job, 0, 1),))]
    assert rig.report(other, (job, 0, 1)) == ["late_paid"]
    assert rig.assignments(job, 0)[1].state is AssignmentState.REPORTED
    assert rig.job(job).counts.validated == 1


@pytest.mark.parametrize(("answer", "verdict"), [(b"1", "late_paid"), (b"2", "late_unneeded")])
def test_an_answer_after_the_task_was_settled_is_paid_if_it_agrees(answer: bytes, verdict: str) -> None:
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    rig.finish(job, rig.node())
    assert rig.report(node, key, answer=answer) == [verdict]
    assert rig.task(job, 0).answer == 1


def test_an_answer_after_a_restart_counts_as_before() -> None:
    rig, job, node, keys = _leased(2)
    rig.restart()
    rig.connect(node)
    assert rig.report(node, *keys) == ["counted", "counted"]
    rig.restart()
    rig.connect(node)
    assert rig.report(node, *keys) == ["duplicate", "duplicate"]
    assert rig.job(job).counts.validated == 2


def test_an_answer_after_the_job_ended_is_kept_and_not_counted() -> None:
    rig, job, node, (key,) = _leased()
    rig.do(c.Cancel(job))
    before = rig.job(job)
    assert rig.report(node, key) == ["late_unneeded"]
    assert rig.job(job) == before
    assert rig.assignments(job, 0)[0].result is not None


def test_a_programs_error_is_an_answer() -> None:
    """Protects the crowd's time: what fails everywhere alike is not tried on ten machines."""
    rig, job, node, (key,) = _leased()
    assert rig.report(node, key, outcome=Outcome.PROGRAM_ERROR) == ["counted"]
    task = rig.task(job, 0)
    assert (task.state, task.outcome, task.errors) == (TaskState.VALIDATED, Outcome.PROGRAM_ERROR, 1)


def test_a_nodes_error_is_no_answer() -> None:
    rig, job, node, (key,) = _leased()
    assert rig.report(node, key, outcome=Outcome.NODE_ERROR) == ["counted"]
    assert (rig.task(job, 0).state, rig.task(job, 0).stale) == (TaskState.IN_QUEUE, 1)
    assert rig.job(job).counts.validated == 0
    assert rig.report(node, key) == ["conflicting"]


def test_a_signed_frame_keeps_its_signature_once_and_each_result_its_leaf() -> None:
    rig, job, node, keys = _leased(2)
    results = tuple(reported(key, leaf=leaf) for leaf, key in enumerate(keys))
    rig.do(c.Report(node, results, leaves=b"l" * 64, signature=b"s" * 64))
    found = [rig.assignments(job, ordinal)[0].result for ordinal in (0, 1)]
    assert [(result.signature, result.leaf) for result in found if result] == [(1, 0), (1, 1)]
    kept = now_done(rig.store.signature(1))
    assert kept is not None
    assert (kept.node, kept.leaves) == (node, b"l" * 64)


def test_the_rest_of_a_frame_whose_first_error_ends_the_job_is_kept_as_late() -> None:
    rig = Rig()
    rig.submit(max_errors=1)
    node = rig.node(3)
    keys = rig.plan()
    frame = (reported(keys[0], Outcome.PROGRAM_ERROR), reported(keys[1]), reported(keys[2]))
    effects = rig.do(c.Report(node, frame))
    verdicts = {key: verdict for a in of(e.Acknowledge, effects) for key, verdict in a.verdicts}
    assert verdicts == {keys[0]: "counted", keys[1]: "late_unneeded", keys[2]: "late_unneeded"}


# --- taken back ------------------------------------------------------------------------------------


def test_an_answer_taken_back_opens_its_task_again_and_drops_its_partial() -> None:
    """Protects the answer: nothing is subtracted, the block is folded anew."""
    rig, job, node, keys = _leased(2)
    rig.report(node, *keys)
    rig.do(c.Put(Partial(job, 0, b"cached")))
    effects = rig.do(c.Retract(node, keys[1], "Its memory is faulty."))
    assert of(e.DropPartial, effects) == [e.DropPartial(job, 0)]
    assert now_done(rig.store.partials(job)) == []
    found = rig.job(job)
    assert (found.revision, found.counts.validated, found.counts.units_done) == (1, 1, 1)
    assert rig.task(job, 1).state is TaskState.IN_QUEUE
    assert rig.assignments(job, 1)[0].state is AssignmentState.RETRACTED
    assert rig.report(node, keys[1]) == ["duplicate"]
    rig.finish(job, node)
    assert (rig.job(job).state, rig.task(job, 1).answer) == (JobState.FINAL, 1)


def test_a_partial_folded_before_an_answer_was_taken_back_is_not_kept() -> None:
    """Protects the answer from a fold that was under way while a task was opened again."""
    rig, job, node, (key,) = _leased()
    rig.report(node, key)
    rig.do(c.Retract(node, key))
    rig.do(c.Put(Partial(job, 0, b"of before")))
    assert now_done(rig.store.partials(job)) == []
    rig.fetch(node, 1)
    rig.report(node, *rig.plan())
    rig.do(c.Put(Partial(job, 0, b"of before"), revision=0))
    assert now_done(rig.store.partials(job)) == []
    rig.do(c.Put(Partial(job, 0, b"of now"), revision=1))
    assert now_done(rig.store.partials(job)) == [Partial(job, 0, b"of now")]


def test_a_partial_of_a_job_that_has_ended_is_not_kept() -> None:
    """Protects the answer: what was open when the job ended may have been opened again before."""
    rig, job, node, (key,) = _leased()
    rig.report(node, key)
    rig.do(c.Cancel(job))
    rig.do(c.Put(Partial(job, 0, b"of before"), revision=0))
    assert now_done(rig.store.partials(job)) == []


def test_an_error_taken_back_no_longer_counts() -> None:
    rig, job, node, (key,) = _leased()
    rig.report(node, key, outcome=Outcome.PROGRAM_ERROR)
    rig.do(c.Retract(node, key))
    assert rig.job(job).counts.errors == 0


def test_taking_back_twice_opens_once() -> None:
    rig, job, node, (key,) = _leased()
    rig.report(node, key)
    rig.do(c.Retract(node, key))
    rig.do(c.Retract(node, key))
    assert rig.job(job).revision == 1


def test_only_the_node_that_gave_an_answer_may_take_it_back() -> None:
    rig, job, node, (key,) = _leased()
    rig.report(node, key)
    rig.do(c.Retract(rig.node(), key))
    assert rig.task(job, 0).state is TaskState.VALIDATED


def test_an_answer_that_does_not_stand_may_be_taken_back_without_effect_on_the_task() -> None:
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    rig.finish(job, rig.node())
    rig.report(node, key)
    rig.do(c.Retract(node, key))
    assert rig.task(job, 0).state is TaskState.VALIDATED
    assert rig.assignments(job, 0)[0].state is AssignmentState.RETRACTED


def test_taking_back_what_is_still_held_gives_the_task_back_at_no_cost() -> None:
    rig, job, node, (key,) = _leased()
    rig.do(c.Retract(node, key))
    assert (rig.task(job, 0).state, rig.task(job, 0).stale) == (TaskState.IN_QUEUE, 0)
    assert rig.report(node, key) == ["late_unneeded"]


def test_a_late_answer_taken_back_before_the_store_has_spoken_is_not_counted() -> None:
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    engine = rig.engine
    asked = of(e.Recall, engine.handle(c.Report(node, (reported(key),)), rig.now))
    assert engine.handle(c.Retract(node, key), rig.now) == []
    (heard,) = of(e.Acknowledge, engine.handle(rig.read(asked[0]), rig.now))
    assert heard.verdicts == ((key, Verdict.LATE_UNNEEDED),)
    assert engine.state.jobs[job].validated == 0


def test_a_late_answer_given_again_after_it_was_taken_back_is_counted() -> None:
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    engine = rig.engine
    (first,) = of(e.Recall, engine.handle(c.Report(node, (reported(key),)), rig.now))
    engine.handle(c.Retract(node, key), rig.now)
    (second,) = of(e.Recall, engine.handle(c.Report(node, (reported(key),)), rig.now))
    heard = of(e.Acknowledge, rig.do(rig.read(first)) + rig.do(rig.read(second)))
    assert [verdict for effect in heard for _, verdict in effect.verdicts] == ["late_unneeded", "counted"]
    assert rig.job(job).counts.validated == 1
    assert not engine.state.late


def test_rows_read_before_a_task_was_opened_and_settled_again_are_read_anew() -> None:
    """Protects the counters: what a node takes back must be judged by what stands now, not by a page of the past."""
    rig, job, node, (key,) = _leased()
    rig.report(node, key)
    engine = rig.engine
    asked = of(e.Recall, engine.handle(c.Retract(node, key), rig.now))
    old = rig.read(asked[0])
    rig.do(c.Retract(node, key))  # said twice, answered the other way round
    rig.fetch(node, 1)
    rig.report(node, *rig.plan())
    before = rig.job(job)
    assert rig.task(job, 0).state is TaskState.VALIDATED
    rig.do(old)
    assert rig.job(job) == before


def test_what_the_store_could_not_tell_is_asked_again() -> None:
    """Protects a node from waiting for its verdict for ever, and a result from being dropped uncounted."""
    rig, job, node, (key,) = _leased()
    rig.wait(LEASE_MS)
    (lost,) = of(e.Recall, rig.engine.handle(c.Report(node, (reported(key),)), rig.now))
    assert not rig.wait(limits.RECALL_AGAIN_MS - 1_000)
    effects = rig.wait(1_000)
    assert of(e.Recall, effects) == [lost]
    assert of(e.Acknowledge, effects) == [e.Acknowledge(node, ((key, Verdict.COUNTED),))]
    rig.do(rig.read(lost))  # heard twice
    assert rig.job(job).counts.validated == 1


def test_late_results_wait_in_memory_only_until_the_store_has_spoken() -> None:
    rig, _, node, (key,) = _leased()
    rig.report(node, key)
    for _ in range(3):
        rig.report(node, key)
    assert not rig.engine.state.late
    assert not rig.engine.state.recalls


def test_settled_tasks_leave_nothing_in_memory() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 2_000, 1))
    node = rig.node()
    for _ in range(4):
        rig.fetch(node, 500)
        rig.report(node, *rig.plan())
    assert rig.job(job).counts.validated == 2_000
    assert not rig.engine.state.jobs
    assert not rig.engine.state.leases
