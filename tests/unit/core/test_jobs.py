"""Jobs: opened once, appended to without gaps, sealed, paused, completed, ended."""

from __future__ import annotations

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import Completion, Grid, Items, JobState, Lines, Outcome, Range, TaskState
from crowdgrid.errors import BadInput, Busy, Conflict, NotFound
from tests.unit.core.memory_grid import now_done
from tests.unit.core.rig import Rig, of

ORPHAN_MS = limits.ORPHAN_SECONDS * 1000


def test_submitting_twice_with_one_key_gives_one_job() -> None:
    """Protects clients that did not hear the first answer."""
    rig = Rig()
    job = rig.submit(key="once")
    assert rig.submit(key="once") == job
    assert rig.submit(key="once", owner="bob") != job


def test_a_name_is_given_once_for_an_owner() -> None:
    rig = Rig()
    rig.submit(name="primes")
    with pytest.raises(Conflict, match="primes"):
        rig.submit(name="primes")
    rig.submit(name="primes", owner="bob")


def test_the_name_and_key_of_a_job_that_ended_rest_a_while() -> None:
    """Protects the batch: who looked them up before that job was written does not know that they are taken."""
    rig = Rig()
    job = rig.submit(name="primes", key="once")
    rig.do(c.Cancel(job))
    with pytest.raises(Conflict):
        rig.submit(name="primes")
    with pytest.raises(Busy, match="just ended"):
        rig.submit(key="once")
    rig.wait(limits.NAMES_REST_MS)
    assert not rig.engine.state.names
    assert not rig.engine.state.keys


def test_the_name_of_a_job_that_is_retried_stays_its_own() -> None:
    rig = Rig()
    job = rig.submit(name="primes", max_errors=1)
    rig.report(rig.node(1), *rig.plan(), outcome=Outcome.PROGRAM_ERROR)
    rig.do(c.Retry(job, rig.job(job)))
    rig.wait(limits.NAMES_REST_MS)
    with pytest.raises(Conflict, match="named 'primes'"):
        rig.submit(name="primes")


def test_an_owner_has_so_many_open_jobs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_OPEN_PER_OWNER", 2)
    rig = Rig()
    first = rig.submit()
    rig.submit()
    with pytest.raises(Busy):
        rig.submit()
    rig.submit(owner="bob")
    rig.do(c.Cancel(first))
    rig.submit()


def test_more_units_than_a_store_can_number_are_refused() -> None:
    """Protects the store: a position over 64 bits would spoil the whole batch it is written in."""
    rig = Rig()
    with pytest.raises(BadInput):
        rig.submit(Range(-limits.RANGE_BOUND, limits.RANGE_BOUND))
    assert rig.engine.state.last_job == 0


def test_a_job_waits_for_the_look_at_its_program() -> None:
    rig = Rig()
    job = rig.submit(checked=False)
    rig.node(1)
    assert rig.plan() == []
    rig.do(c.Checked(job))
    assert rig.plan() == [(job, 0, 0)]


def test_a_bad_program_makes_the_job_invalid_with_the_reason() -> None:
    rig = Rig()
    job = rig.submit(checked=False)
    rig.do(c.Checked(job, "It has no _start."))
    ended = rig.job(job)
    assert (ended.state, ended.reason) == (JobState.INVALID, "It has no _start.")
    assert rig.do(c.Checked(job)) == []  # a second look is too late


def test_a_program_is_looked_at_again_after_a_restart() -> None:
    rig = Rig()
    job = rig.submit(checked=False)
    assert [check.job.number for check in of(e.Check, rig.restart())] == [job]


# --- input ---------------------------------------------------------------------------------------


def test_appending_the_same_units_twice_counts_them_once() -> None:
    """Whoever asks hears how much was there, because the engine cannot see whether it is the same."""
    rig = Rig()
    job = rig.submit(Items())
    assert rig.append(job, 0, 3) == e.Appended(3)
    assert rig.append(job, 0, 3) == e.Appended(3, known=3)
    assert rig.append(job, 1, 2) == e.Appended(3, known=2)
    assert rig.append(job, 3, 2) == e.Appended(5)


def test_a_chunk_that_reaches_beyond_the_end_changes_nothing() -> None:
    """Protects what is stored: part of it would be written over with what nobody has compared."""
    rig = Rig()
    job = rig.submit(Items())
    rig.append(job, 0, 3)
    assert rig.append(job, 2, 2) == e.Appended(3, known=1)
    assert rig.append(job, 0, 4) == e.Appended(3, known=3)
    assert rig.job(job).counts.units == 3
    assert [(chunk.first, chunk.count) for chunk in now_done(rig.store.chunks(job, first=0, stop=9))] == [(0, 3)]


def test_appended_units_leave_no_gap() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.append(job, 0, 3)
    with pytest.raises(Conflict):
        rig.append(job, 4, 1)
    assert rig.job(job).counts.units == 3


def test_a_job_has_room_for_so_many_units() -> None:
    rig = Rig()
    job = rig.submit(Items())
    with pytest.raises(BadInput):
        rig.append(job, 0, limits.JOB_ITEMS + 1)


@pytest.mark.parametrize("split", [Range(0, 5), Grid((("a", ("1", "2")),))])
def test_a_range_and_a_grid_take_no_input(split: Range | Grid) -> None:
    rig = Rig()
    job = rig.submit(split)
    assert rig.job(job).state is JobState.SEALED
    with pytest.raises(Conflict):
        rig.append(job, rig.job(job).counts.units, 1)


def test_a_sealed_job_takes_nothing_new_but_what_it_has_may_be_sent_again() -> None:
    """Protects a client that lost its link after `Append, Seal` and says both again."""
    rig = Rig()
    job = rig.submit(Items())
    rig.append(job, 0, 3)
    rig.do(c.Seal(job))
    assert rig.append(job, 0, 3) == e.Appended(3, known=3)
    with pytest.raises(Conflict, match="sealed"):
        rig.append(job, 3, 1)
    with pytest.raises(Conflict, match="sealed"):
        rig.append(job, 2, 2)


def test_sealing_again_is_harmless_even_when_the_job_has_ended() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.append(job, 0, 1)
    rig.do(c.Seal(job))
    rig.do(c.Seal(job))
    rig.finish(job, rig.node())
    assert rig.job(job).state is JobState.FINAL
    rig.do(c.Seal(job))
    with pytest.raises(NotFound):
        rig.do(c.Seal(job + 1))


def test_input_may_be_appended_while_the_program_is_being_looked_at() -> None:
    rig = Rig()
    job = rig.submit(Lines(piece=2), checked=False)
    rig.append(job, 0, 2)
    rig.do(c.Seal(job))
    rig.do(c.Checked(job))
    assert rig.job(job).state is JobState.SEALED
    rig.finish(job, rig.node())
    assert rig.job(job).state is JobState.FINAL


def test_a_sealed_job_without_input_is_complete_at_once() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.do(c.Seal(job))
    assert rig.job(job).state is JobState.FINAL


def test_an_open_job_is_not_complete_although_everything_is_answered() -> None:
    rig = Rig()
    job = rig.submit(Items())
    node = rig.node()
    rig.append(job, 0, 2)
    rig.finish(job, node)
    assert rig.job(job).state is JobState.OPEN
    rig.append(job, 2, 1)
    rig.do(c.Seal(job))
    rig.finish(job, node)
    assert (rig.job(job).state, rig.job(job).counts.validated) == (JobState.FINAL, 3)


# --- orphans ---------------------------------------------------------------------------------------


def test_an_open_job_nobody_comes_back_for_is_sealed() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.append(job, 0, 1)
    rig.wait(ORPHAN_MS - 1)
    assert rig.job(job).state is JobState.OPEN
    effects = rig.wait(1)
    assert rig.job(job).state is JobState.SEALED
    assert not of(e.Reply, effects), "nobody asked"


def test_each_append_gives_an_open_job_more_time() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.wait(ORPHAN_MS - 1)
    rig.append(job, 0, 1)
    rig.wait(ORPHAN_MS - 1)
    assert rig.job(job).state is JobState.OPEN
    rig.wait(1)
    assert rig.job(job).state is JobState.SEALED


def test_a_job_a_client_has_in_hand_stays_open_until_the_last_one_lets_go() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.do(c.Attended(job, present=True))
    rig.do(c.Attended(job, present=True))
    rig.do(c.Attended(job, present=False))
    rig.wait(2 * ORPHAN_MS)
    assert rig.job(job).state is JobState.OPEN
    rig.do(c.Attended(job, present=False))
    rig.append(job, 0, 1)
    rig.wait(ORPHAN_MS)
    assert rig.job(job).state is JobState.SEALED


def test_after_a_restart_an_open_job_waits_for_its_client_again() -> None:
    rig = Rig()
    job = rig.submit(Items())
    rig.do(c.Attended(job, present=True))
    rig.restart()
    rig.wait(ORPHAN_MS - 1)
    assert rig.job(job).state is JobState.OPEN
    rig.wait(1)
    assert rig.job(job).state is JobState.FINAL  # sealed, and it had no input


# --- steering --------------------------------------------------------------------------------------


def test_a_pause_keeps_what_runs_and_leases_nothing_new() -> None:
    rig = Rig()
    job = rig.submit()
    node = rig.node(2)
    keys = rig.plan()
    rig.do(c.Pause(job))
    rig.fetch(node, 2)
    assert rig.plan() == []
    assert list(rig.engine.state.leases) == keys
    assert rig.report(node, *keys) == ["counted", "counted"]
    rig.do(c.Resume(job))
    assert len(rig.plan()) == 2


def test_a_pause_outlives_a_restart() -> None:
    rig = Rig()
    job = rig.submit()
    rig.do(c.Pause(job))
    rig.restart()
    rig.node(1)
    assert rig.plan() == []


def test_cancelling_withdraws_what_runs_and_ends_the_job_with_the_reason() -> None:
    rig = Rig()
    job = rig.submit()
    node = rig.node(2)
    keys = rig.plan()
    effects = rig.do(c.Cancel(job, "Changed my mind."))
    (withdraw,) = of(e.Withdraw, effects)
    assert (withdraw.node, withdraw.assignments) == (node, tuple(keys))
    assert (rig.job(job).state, rig.job(job).reason) == (JobState.CANCELLED, "Changed my mind.")
    assert rig.report(node, *keys) == ["late_unneeded", "late_unneeded"]
    assert rig.do(c.Cancel(job)) == [e.Reply(None)]
    assert rig.job(job).reason == "Changed my mind."


@pytest.mark.parametrize("command", [c.Pause, c.Resume])
def test_what_has_ended_cannot_be_steered(command: type[c.Pause | c.Resume]) -> None:
    rig = Rig()
    job = rig.submit()
    rig.do(c.Cancel(job))
    with pytest.raises(NotFound):
        rig.do(command(job))


# --- errors ----------------------------------------------------------------------------------------


def test_a_job_stops_at_so_many_program_errors_and_says_the_last() -> None:
    rig = Rig()
    job = rig.submit(max_errors=2)
    node = rig.node(3)
    keys = rig.plan()
    rig.report(node, keys[0], outcome=Outcome.PROGRAM_ERROR)
    assert rig.job(job).state is JobState.SEALED
    rig.report(node, keys[1], outcome=Outcome.PROGRAM_ERROR, error="exit code 3")
    ended = rig.job(job)
    assert ended.state is JobState.FAILED
    assert ended.reason == "The program made 2 errors, and the job stops at 2. The last: exit code 3"


def test_items_that_fail_inside_a_task_count_one_by_one() -> None:
    rig = Rig()
    job = rig.submit(Items(piece=5), max_errors=4)
    rig.append(job, 0, 10)
    node = rig.node(2)
    keys = rig.plan()
    rig.report(node, keys[0], errors=3)
    assert (rig.job(job).counts.errors, rig.job(job).state) == (3, JobState.OPEN)
    rig.report(node, keys[1], errors=1)
    assert rig.job(job).state is JobState.FAILED


def test_a_job_that_allows_no_error_does_not_stop_at_a_good_answer() -> None:
    rig = Rig()
    job = rig.submit(max_errors=0)
    node = rig.node(2)
    keys = rig.plan()
    rig.report(node, keys[0])
    assert rig.job(job).state is JobState.SEALED
    rig.report(node, keys[1], outcome=Outcome.PROGRAM_ERROR)
    assert rig.job(job).state is JobState.FAILED


# --- completion ------------------------------------------------------------------------------------


def test_first_stops_at_the_first_hit_and_withdraws_everything() -> None:
    rig = Rig()
    job = rig.submit(reduce="first")
    one, two = rig.node(2), rig.node(2)
    leased = rig.leases()
    mine = [assignment.key for node, assignment in leased if node == one]
    others = [assignment.key for node, assignment in leased if node == two]
    rig.report(one, mine[0])
    assert rig.job(job).state is JobState.SEALED
    results = (_hit(mine[1]),)
    effects = rig.do(c.Report(one, results))
    ended = rig.job(job)
    assert (ended.state, ended.hit) == (JobState.FINAL, mine[1][1])
    assert [(w.node, w.assignments) for w in of(e.Withdraw, effects)] == [(two, tuple(others))]
    assert not rig.engine.state.jobs


def _hit(key: tuple[int, int, int]) -> c.Reported:
    return c.Reported(key, Outcome.OK, b"h" * 32, b"here", hit=True, wall_ms=1)


def test_a_hit_means_nothing_to_other_reducers() -> None:
    rig = Rig()
    job = rig.submit(reduce="sum")
    node = rig.node(1)
    (key,) = rig.plan()
    rig.do(c.Report(node, (_hit(key),)))
    assert (rig.job(job).state, rig.job(job).hit) == (JobState.SEALED, -1)


def test_at_least_so_many_answers_are_enough_after_the_deadline() -> None:
    rig = Rig()
    job = rig.submit(completion=Completion(at_least=3, deadline_ms=60_000))
    node = rig.node(4)
    keys = rig.plan()
    rig.report(node, *keys[:3])
    assert rig.job(job).state is JobState.SEALED
    rig.wait(59_000, beat=(node, (keys[3],)))
    assert rig.job(job).state is JobState.SEALED
    effects = rig.wait(1_000, beat=(node, (keys[3],)))
    assert rig.job(job).state is JobState.FINAL
    assert [w.assignments for w in of(e.Withdraw, effects)] == [(keys[3],)]


def test_after_the_deadline_the_answer_that_makes_it_enough_completes_the_job() -> None:
    rig = Rig()
    job = rig.submit(completion=Completion(at_least=2, deadline_ms=10_000))
    node = rig.node(2)
    keys = rig.plan()
    rig.wait(20_000, beat=(node, tuple(keys)))
    rig.report(node, keys[0])
    assert rig.job(job).state is JobState.SEALED
    rig.report(node, keys[1])
    assert rig.job(job).state is JobState.FINAL


def test_all_answers_complete_a_job_before_its_deadline() -> None:
    rig = Rig()
    job = rig.submit(completion=Completion(at_least=20, deadline_ms=10**9))
    rig.finish(job, rig.node())
    assert rig.job(job).state is JobState.FINAL


@pytest.mark.parametrize("at_least", [0, 2])
def test_answers_become_final_when_the_time_for_opening_them_again_has_passed(at_least: int) -> None:
    rig = Rig()
    job = rig.submit(final_after_ms=30_000, completion=Completion(at_least=at_least))
    node = rig.node(100)
    rig.report(node, *rig.plan())
    assert rig.job(job).state is JobState.COMPLETED
    rig.wait(29_000)
    assert rig.job(job).state is JobState.COMPLETED
    rig.wait(1_000)
    assert rig.job(job).state is JobState.FINAL
    assert not rig.engine.state.jobs


def test_a_completed_job_that_is_opened_again_goes_on_with_what_it_had_left() -> None:
    """Protects `at_least`: an answer withdrawn later is replaced by work that had been left undone."""
    rig = Rig()
    job = rig.submit(final_after_ms=3_600_000, completion=Completion(at_least=2))
    node = rig.node(4)
    keys = rig.plan()
    rig.report(node, *keys[:2])
    assert rig.job(job).state is JobState.COMPLETED
    assert [rig.task(job, key[1]).state for key in keys[2:]] == [TaskState.IN_QUEUE] * 2
    rig.restart()
    rig.connect(node)
    rig.do(c.Retract(node, keys[0]))
    assert rig.job(job).state is JobState.SEALED
    rig.fetch(node, 1)
    (again,) = rig.plan()
    rig.report(node, again)
    assert rig.job(job).state is JobState.COMPLETED


def test_an_answer_taken_back_leaves_a_job_complete_that_has_enough_without_it() -> None:
    rig = Rig()
    job = rig.submit(final_after_ms=3_600_000, completion=Completion(at_least=2, deadline_ms=10_000))
    node = rig.node(4)
    keys = rig.plan()
    rig.report(node, *keys[:3])
    rig.wait(10_000, beat=(node, (keys[3],)))
    assert rig.job(job).state is JobState.COMPLETED
    rig.do(c.Retract(node, keys[0]))
    assert (rig.job(job).state, rig.job(job).counts.validated) == (JobState.COMPLETED, 2)
    rig.do(c.Retract(node, keys[1]))
    assert (rig.job(job).state, rig.job(job).counts.validated) == (JobState.SEALED, 1)


def test_a_hit_that_is_withdrawn_no_longer_counts_and_the_search_goes_on() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 4, 1), reduce="first", final_after_ms=3_600_000)
    node = rig.node(2)
    keys = rig.plan()
    rig.do(c.Report(node, (_hit(keys[0]),)))
    assert rig.job(job).state is JobState.COMPLETED
    rig.do(c.Retract(node, keys[0]))
    assert (rig.job(job).state, rig.job(job).hit) == (JobState.SEALED, -1)
    rig.finish(job, node)
    assert (rig.job(job).state, rig.job(job).counts.validated) == (JobState.COMPLETED, 4)


def test_an_open_job_that_is_completed_takes_no_more_input_and_can_be_completed_again() -> None:
    rig = Rig()
    job = rig.submit(Items(piece=1), reduce="first", final_after_ms=3_600_000)
    rig.append(job, 0, 3)
    node = rig.node(1)
    (key,) = rig.plan()
    rig.do(c.Report(node, (_hit(key),)))
    assert (rig.job(job).state, rig.job(job).sealed) == (JobState.COMPLETED, True)
    with pytest.raises(Conflict):
        rig.append(job, 3, 1)
    rig.do(c.Retract(node, key))
    rig.finish(job, node)
    assert rig.job(job).state is JobState.COMPLETED


def test_a_report_that_comes_after_completion_does_not_change_the_answer() -> None:
    rig = Rig()
    job = rig.submit(Range(0, 4, 1), reduce="first", final_after_ms=3_600_000)
    node = rig.node(2)
    keys = rig.plan()
    rig.do(c.Report(node, (_hit(keys[0]),)))
    effects = rig.do(c.Report(node, (_hit(keys[1]),)))
    assert [verdict for _, verdict in of(e.Acknowledge, effects)[0].verdicts] == ["late_unneeded"]
    assert (rig.job(job).state, rig.job(job).hit, rig.job(job).counts.validated) == (JobState.COMPLETED, 0, 1)
