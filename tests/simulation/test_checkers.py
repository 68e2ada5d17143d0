"""A check that cannot fail is none: engines, stores and hubs that break a promise are found out, whatever the promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from crowdgrid.core import effects as e
from crowdgrid.core import leasing, reports, voting
from crowdgrid.core.model import Assignment, AssignmentState, Credit, JobState, Task, TaskState
from crowdgrid.core.scheduling import offers
from crowdgrid.simulation.checkers import Checkers, Fault
from crowdgrid.simulation.hub import Hub
from crowdgrid.simulation.outcome import Outcome, upper_bound
from crowdgrid.store.booking import Books
from crowdgrid.store.memory import MemoryStore
from tests.simulation.scenes import world

VOTES = {"name": "votes", "tasks": 30, "consensus": "majority", "overlap": 2}
CHURN: dict[str, Any] = {
    "name": "volunteers",
    "count": 20,
    "availability": {"kind": "custom", "on_shape": 1.0, "on_scale_h": 0.02, "off_mu": -4.0, "off_sigma": 0.5},
}


def _outcome(**tables: Any) -> Outcome:
    return world(**{"run": {"hours": 2.0, "check_every": 100}, **tables}).run()


def test_an_engine_in_order_keeps_every_promise() -> None:
    found = _outcome(crowd=[CHURN], jobs=[VOTES, {"name": "sweep", "tasks": 300}], hub={"crash_every_s": 60.0})
    assert found.fault == ""
    assert found.crashes > 1
    assert [each.final for each in found.jobs] == [1, 1]


def _patched(patch: pytest.MonkeyPatch, place: Any, name: str, make: Callable[[Any], Any]) -> None:
    patch.setattr(place, name, make(getattr(place, name)))


def test_a_task_that_is_not_queued_again_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    _patched(monkeypatch, leasing, "requeue", lambda _: lambda *_, **__: None)
    assert "nobody works on task" in _outcome(crowd=[CHURN]).fault


def test_a_lost_lease_nobody_sees_run_out_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    _patched(monkeypatch, leasing, "expire", lambda _: lambda _: None)
    gone = {"name": "gone", "count": 5, "behaviour": {"kind": "leaver", "share": 1.0, "back_s": 1e6}}
    crowd = [gone, {"name": "machines", "count": 5}]
    assert "have not ended" in _outcome(crowd=crowd, policy={"speculate": False}).fault  # else others are given it, too


def test_an_owner_that_votes_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    _patched(monkeypatch, voting, "objection", lambda _: lambda *_: "")
    found = _outcome(crowd=[{"name": "machines", "count": 10, "owners": 2}], jobs=[VOTES], run={"hours": 2.0})
    assert "voted twice" in found.fault or "works twice" in found.fault


def test_a_result_that_is_counted_again_after_it_was_settled_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that forgets: after a crash the hub has tasks run again that had their answer."""
    _patched(monkeypatch, MemoryStore, "_save", _forgetting(TaskState.VALIDATED))
    assert _outcome(crowd=[CHURN], jobs=[{"name": "sweep", "tasks": 500}], hub={"crash_every_s": 30.0}).fault != ""


def _forgetting(state: TaskState) -> Callable[[Any], Any]:
    def make(save: Any) -> Any:
        def forget(self: MemoryStore, record: Any) -> None:
            if not (isinstance(record, Task) and record.state is state and record.ordinal % 7 == 3):
                save(self, record)

        return forget

    return make


def test_a_hub_that_tells_what_it_has_not_kept_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told and then lost in a crash: nodes drop results nobody has."""

    def drops(write: Any) -> Any:
        count = [0]

        def forget(self: Hub, effects: list[e.Effect]) -> None:
            count[0] += 1
            if count[0] % 5 == 0:  # never written
                self.world.checkers.saw(effects)
                return
            write(self, effects)

        return forget

    _patched(monkeypatch, Hub, "_write", drops)
    assert _outcome(crowd=[CHURN], jobs=[{"name": "sweep", "tasks": 500}], hub={"crash_every_s": 30.0}).fault != ""


def test_a_job_that_nobody_serves_although_nodes_offer_themselves_starves(monkeypatch: pytest.MonkeyPatch) -> None:
    _patched(monkeypatch, offers, "best", lambda _: lambda *_: None)
    assert "has had work and a willing node" in _outcome().fault


def test_a_report_that_is_never_answered_for_leaves_its_job_open(monkeypatch: pytest.MonkeyPatch) -> None:
    _patched(monkeypatch, reports, "_judge", lambda _: lambda *_: None)
    assert _outcome().fault != ""


def _misbooked(change: Callable[[list[Credit]], list[Credit]]) -> Callable[[Any], Any]:
    def make(entries: Any) -> Any:
        async def wrong(self: Books, number: int, now: int) -> list[Credit]:
            return change(await entries(self, number, now))

        return wrong

    return make


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda entries: [replace(each, units=each.units + 1) for each in entries], "units by job"),
        (lambda entries: [replace(each, amount=each.amount + 1) for each in entries], "was paid"),
        (lambda entries: entries[1:], "booked are 0"),
        (lambda entries: [replace(each, turn=each.turn + 1) for each in entries], "out of turn"),
        (lambda entries: [replace(each, owner="somebody else") for each in entries], "goes from"),
        (lambda entries: [replace(each, amount=-5) for each in entries], "less than nothing"),
    ],
)
def test_a_ledger_that_does_not_balance_is_seen(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Credit]], list[Credit]], fault: str
) -> None:
    _patched(monkeypatch, Books, "entries", _misbooked(change))
    found = _outcome(crowd=[{"name": "machines", "count": 6}], jobs=[VOTES])
    assert fault in found.fault


def test_what_a_crash_kept_from_being_booked_is_booked_by_the_next_hub() -> None:
    found = _outcome(crowd=[CHURN], jobs=[{**VOTES, "count": 12, "every_s": 20.0}], hub={"crash_every_s": 15.0})
    assert (found.fault, found.jobs[0].final) == ("", 12)
    assert found.crashes > 5
    assert found.crowd[0].credit > 0


def test_boasting_does_not_pay() -> None:
    """The price is the median of what those claim who answered the same tasks: see docs/credit.md."""
    boasters = {"name": "boasters", "count": 4, "behaviour": {"kind": "inflater", "factor": 10.0}}
    jobs = [{"name": "votes", "tasks": 600, "consensus": "majority", "overlap": 3}]
    found = _outcome(crowd=[{"name": "machines", "count": 16}, boasters], jobs=jobs)
    honest, boasting = found.crowd
    assert found.fault == ""
    assert boasting.credit / boasting.counted == pytest.approx(honest.credit / honest.counted, rel=0.05)


# --- the checkers by themselves ------------------------------------------------------------------


def _kept() -> tuple[Checkers, Task, Assignment]:
    """After a run: a task that stands, and the assignment that answered it."""
    done = world()
    assert done.run().fault == ""
    rows = done.store._below[1]
    task = rows.tasks[3]
    return done.checkers, task, rows.assignments[3][task.answer]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda task, _: task, "settled while it had an answer"),
        (lambda _, assignment: assignment, "was counted twice"),
        (
            lambda task, _: msgspec.structs.replace(task, ordinal=77, voters=bytes(7) + b"\x01" + bytes(7) + b"\x01"),
            "voted twice",
        ),
    ],
)
def test_what_is_settled_or_counted_twice_is_a_fault(change: Any, fault: str) -> None:
    checkers, task, assignment = _kept()
    checkers.books[1]._voted[assignment.key] = None  # forgotten when the job ended
    with pytest.raises(Fault, match=fault):
        checkers.saw([e.Save(change(task, assignment))])


def test_an_answer_may_be_given_again_once_it_was_withdrawn() -> None:
    checkers, task, assignment = _kept()
    reopened = msgspec.structs.replace(task, state=TaskState.IN_QUEUE)
    withdrawn = msgspec.structs.replace(assignment, state=AssignmentState.RETRACTED)
    checkers.saw([e.Save(withdrawn), e.Save(reopened), e.Save(assignment), e.Save(task)])
    assert checkers.books[1].reopened == 1


def test_a_job_that_is_complete_without_some_of_its_answers_is_a_fault() -> None:
    checkers, task, _ = _kept()
    job = msgspec.structs.replace(checkers.books[1].record, state=JobState.COMPLETED)
    with pytest.raises(Fault, match="complete with 49 of 50 units answered"):
        checkers.saw([e.Save(msgspec.structs.replace(task, state=TaskState.IN_QUEUE)), e.Save(job)])


def test_counters_that_do_not_add_up_are_a_fault() -> None:
    checkers, _, _ = _kept()
    record = checkers.books[1].record
    counts = msgspec.structs.replace(record.counts, validated=record.counts.validated - 1)
    with pytest.raises(Fault, match="has cut 50 tasks and knows of 49"):
        checkers.saw([e.Save(msgspec.structs.replace(record, state=JobState.SEALED, counts=counts))])


def test_a_wrong_answer_is_counted_when_delivered_and_when_final() -> None:
    checkers, task, _ = _kept()
    book = checkers.books[1]
    reopened = msgspec.structs.replace(task, state=TaskState.IN_QUEUE)
    wrong = msgspec.structs.replace(task, digest=bytes(32))
    checkers.saw([e.Save(reopened), e.Save(wrong)])
    assert (book.first_wrong, book.standing_wrong, book.accepted) == (0, 1, 50)
    checkers.saw([e.Save(reopened), e.Save(task)])
    assert (book.standing_wrong, book.reopened) == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "of", "bound"), [(0, 3_000, 0.000998), (0, 100, 0.0295), (5, 100, 0.1023), (50, 100, 0.5864), (3, 3, 1.0)]
)
def test_the_upper_bound_is_that_of_the_tables(wrong: int, of: int, bound: float) -> None:
    assert upper_bound(wrong, of) == pytest.approx(bound, abs=1e-4)
