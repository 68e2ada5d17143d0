"""What must be true all the time, looked at as each batch is committed, on what changed in it.

No task is lost; a task has one settled answer at a time; no assignment votes twice, and no node or owner twice on one
task; a job that is complete has an answer to all of its input. Whether an answer is right is known here too: wrong
ones that were accepted are counted when a task is first settled, and again when its job is final.

A `Fault` ends the run. What stands in a table for people is in `JobBook`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from crowdgrid.core import effects as e
from crowdgrid.core import voting
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    AssignmentState,
    Credit,
    Job,
    JobState,
    Node,
    Outcome,
    Standing,
    Task,
    TaskState,
)
from crowdgrid.core.state import JobRun
from crowdgrid.simulation.ledger import Ledger, Unbalanced

if TYPE_CHECKING:
    from crowdgrid.simulation.hub import Hub
    from crowdgrid.simulation.truth import Truth
    from crowdgrid.simulation.world import World

ENDED: Final = frozenset({JobState.FINAL, JobState.FAILED, JobState.CANCELLED, JobState.INVALID})
_UNSEEN, _OPEN, _RIGHT, _WRONG, _SPLIT, _GIVEN_UP = range(6)
_STANDS: Final = frozenset({_RIGHT, _WRONG})
_DELIVERED: Final = 8  # a bit: it was settled before
_QUEUE_LOOKED_AT: Final = 64


class Fault(AssertionError):
    """The grid broke a promise."""


class JobBook:
    """One job as it was committed.

    Attributes:
        leased: assignments given. first_wrong: wrong answers accepted when first delivered. standing_wrong:
            now. reopened: tasks opened again. wait_ms_sum, wait_ms_most: from submission to a task's first lease.
    """

    def __init__(self, truth: Truth, record: Job) -> None:
        self.truth = truth
        self.record = record
        self.leased = self.reported = self.accepted = self.reopened = 0
        self.first_wrong = self.standing_wrong = 0
        self.given_up = self.given_up_units = self.units_standing = 0
        self.wait_ms_sum = self.wait_ms_most = 0
        self.wait_ms_least = -1
        self.completed_at = 0
        self._codes = bytearray()
        self._voted: dict[AssignmentKey, None] = {}

    def _code(self, ordinal: int) -> int:
        if ordinal >= len(self._codes):
            self._codes.extend(bytes(max(ordinal + 1 - len(self._codes), 1024)))
        return self._codes[ordinal]

    def assignment(self, record: Assignment) -> None:
        """An assignment as it is now."""
        state = record.state
        if state is AssignmentState.LEASED:
            self.leased += 1
            if record.attempt == 0:
                self._waited(record.leased_at - self.record.created_at)
        elif state is AssignmentState.REPORTED:
            if record.result is not None and record.result.outcome is not Outcome.NODE_ERROR:
                self.reported += 1
                if record.key in self._voted:
                    raise Fault(f"assignment {record.key} was counted twice")
                self._voted[record.key] = None
        elif state is AssignmentState.RETRACTED:
            self._voted.pop(record.key, None)

    def _waited(self, ms: int) -> None:
        self.wait_ms_sum += ms
        self.wait_ms_most = max(self.wait_ms_most, ms)
        self.wait_ms_least = ms if self.wait_ms_least < 0 else min(self.wait_ms_least, ms)

    def task(self, record: Task) -> None:
        """A task as it is now."""
        before = self._code(record.ordinal)
        delivered, code = before & _DELIVERED, before & (_DELIVERED - 1)
        if record.state is TaskState.VALIDATED:
            if code in _STANDS:
                raise Fault(f"task {record.job}:{record.ordinal} was settled while it had an answer")
            if code in (_SPLIT, _GIVEN_UP):
                raise Fault(f"task {record.job}:{record.ordinal} was settled after it had been split or given up")
            wrong = record.outcome is not Outcome.OK or record.digest != self.truth.digest(record)
            self.accepted += not delivered
            self.first_wrong += wrong and not delivered
            self.standing_wrong += wrong
            self.units_standing += record.stop - record.start
            self._codes[record.ordinal] = _DELIVERED | (_WRONG if wrong else _RIGHT)
            return
        if code in _STANDS:
            self.reopened += 1
            self.standing_wrong -= code == _WRONG
            self.units_standing -= record.stop - record.start
        if code == _GIVEN_UP:
            self.given_up -= 1
            self.given_up_units -= record.stop - record.start
        if record.state is TaskState.SPLIT:
            self._codes[record.ordinal] = delivered | _SPLIT
        elif record.state is TaskState.ABANDONED:
            self.given_up += 1
            self.given_up_units += record.stop - record.start
            self._codes[record.ordinal] = delivered | _GIVEN_UP
        else:
            self._codes[record.ordinal] = delivered | _OPEN

    def job(self, record: Job, now: int) -> None:
        """The job as it is now, after its tasks of the same batch."""
        before, self.record = self.record, record
        counts = record.counts
        if record.state in JOB_RUNS and not record.retrying:
            there = counts.in_queue + counts.in_progress + counts.validated + counts.split + counts.abandoned
            if there != counts.tasks:
                raise Fault(f"job {record.number} has cut {counts.tasks} tasks and knows of {there}")
        if record.state is JobState.COMPLETED or record.state is JobState.FINAL:
            if before.state in JOB_RUNS or not self.completed_at:
                self.completed_at = now
            answered = self.units_standing + self.given_up_units
            if answered != counts.units and record.hit < 0 and not record.spec.completion.at_least:
                raise Fault(f"job {record.number} is complete with {answered} of {counts.units} units answered")
        if record.state in ENDED:
            self._voted.clear()


class Checkers:
    """Those that look at what is committed, all jobs together."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.books: dict[int, JobBook] = {}
        self.nodes: dict[int, Node] = {}
        self.standings: dict[int, Standing] = {}
        self.ended = 0
        self.ledger = Ledger()
        self._once = world.policy.owners_vote_once
        self._starving: dict[int, tuple[int, int]] = {}  # job → (since, leased then)

    def saw(self, effects: Iterable[e.Effect]) -> None:
        """A batch was committed. Raises Fault."""
        books = self.books
        for effect in effects:
            if type(effect) is not e.Save:
                continue
            record = effect.record
            if type(record) is Task:
                book = books[record.job]
                book.task(record)
                if record.voters and record.state is TaskState.VALIDATED:
                    self._check_voters(record)
            elif type(record) is Assignment:
                books[record.job].assignment(record)
            elif type(record) is Job:
                self._job(record)
            elif type(record) is Node:
                self.nodes[record.number] = record
            elif type(record) is Standing:
                self.standings[record.node] = record
            elif type(record) is Credit:
                self._book(record)

    def _job(self, record: Job) -> None:
        book = self.books.get(record.number)
        if book is None:
            book = self.books[record.number] = JobBook(self._world.truth_of(record), record)
        ended = book.record.state in ENDED
        book.job(record, self._world.timeline.now)
        self.ended += (record.state in ENDED) - ended

    def _book(self, entry: Credit) -> None:
        try:
            self.ledger.book(entry, self.books[entry.job].record, self.nodes[entry.node])
        except Unbalanced as wrong:
            raise Fault(str(wrong)) from None

    def check_ledger(self) -> None:
        """At the end of a run. Raises Fault."""
        try:
            self.ledger.check(self._world.store, [book.record for book in self.books.values()])
        except Unbalanced as wrong:
            raise Fault(str(wrong)) from None

    def _check_voters(self, task: Task) -> None:
        numbers = [int.from_bytes(task.voters[at : at + 8], "big") for at in range(0, len(task.voters), 8)]
        if len(set(numbers)) != len(numbers):
            raise Fault(f"a node voted twice on task {task.job}:{task.ordinal}")
        if self._once and len(numbers) > 1:
            owners = {self.nodes[number].owner for number in numbers}
            if len(owners) != len(numbers):
                raise Fault(f"an owner voted twice on task {task.job}:{task.ordinal}")

    # --- nobody starves --------------------------------------------------------------------------

    def look_for_starving(self, hub: Hub, now: int, patience_ms: int) -> None:
        """No job has work, and a node that would do, for longer than this. Called just after a plan."""
        seen = self._starving
        self._starving = {}
        for job in hub.engine.state.jobs.values():
            if not _could_be_served(hub, job):
                continue
            leased = self.books[job.number].leased
            since, then = seen.get(job.number, (now, leased))
            if then != leased:
                since = now
            self._starving[job.number] = (since, leased)
            if now - since > patience_ms:
                raise Fault(f"job {job.number} has had work and a willing node for {(now - since) / 1000:.0f} s")


def _could_be_served(hub: Hub, job: JobRun) -> bool:
    """Whether some standing offer could be filled with work of this job."""
    state = hub.engine.state
    if job.paused or job.state not in JOB_RUNS or not job.has_work or job.pool is None:
        return False
    offers = [key[4] for key in job.pool.offers[:_QUEUE_LOOKED_AT] if job.declined.get(key[4], 0) <= state.now]
    if not offers or not job.replicates or job.units_cut < job.units:
        return bool(offers)
    waiting = [job.open[ordinal] for ordinal in sorted(job.queue)[:_QUEUE_LOOKED_AT] if ordinal in job.open]
    waiting = [task for task in waiting if task.state is TaskState.IN_QUEUE or task.ordinal in job.short]
    return any(not voting.objection(state, job, task, state.nodes[number]) for task in waiting for number in offers)
