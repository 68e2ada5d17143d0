"""The engine: all decisions of the grid. Pure: no clock, random source, log, await or I/O inside.

    effects = engine.handle(command, now)

is the only way to change it. `now` (integer ms, never going back) and anything random come in with commands.
A command the state does not allow raises a `CrowdgridError` and changes nothing. The same commands at the
same times give the same effects, in the hub, in a simulator and in a replay.

This file says which command goes where; the rules are in the modules beside it, all working on one
`State`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify
from typing import Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.core import (
    asking,
    canaries,
    closing,
    doubting,
    explain,
    holding,
    intake,
    jobs,
    leasing,
    nodes,
    reopening,
    reports,
    settling,
    voting,
)
from crowdgrid.core import commands as c
from crowdgrid.core.effects import Check, Effect, JobChanged, Reply, Save
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    AssignmentState,
    GridRow,
    Job,
    JobState,
    Node,
    Partial,
    Standing,
    Task,
    TaskState,
    Token,
)
from crowdgrid.core.scheduling import ready, speculation
from crowdgrid.core.scheduling.plan import plan
from crowdgrid.core.scheduling.ranking import DEFAULT, RANKINGS
from crowdgrid.core.state import JobRun, Lease, NodeRun, State
from crowdgrid.core.trust.policy import POLICY, Policy

_TICK_GAP_MS: Final = limits.TICK_GAP_SECONDS * 1000


class Engine:
    """See the module.

    Args:
        grid: the grid row as last committed. now: engine time, ms, at least `grid.now`.
        ranking: one of `scheduling.ranking.RANKINGS`. policy: what the hub has decided about trust.
    """

    def __init__(self, grid: GridRow, now: int, ranking: str = DEFAULT, policy: Policy = POLICY) -> None:
        self.state = State(grid, now, policy)
        self.rule = RANKINGS[ranking]
        self._handlers: dict[type, Callable[[Any], None]] = self._dispatch()

    def handle(self, command: c.Command, now: int) -> list[Effect]:
        """Let `command` happen at `now`; returns what is to be done, in order.

        Raises:
            CrowdgridError: the command is refused and nothing has changed.
        """
        state = self.state
        state.now = max(now, state.now)
        state.out = []
        self._handlers[type(command)](command)
        if state.moved:
            doubting.look(state)
        if state.whole:
            closing.look(state)
        return self.told()

    def told(self) -> list[Effect]:
        """What the command had to say, ended by each job it changed."""
        state = self.state
        if state.dirty:
            for job in state.dirty.values():
                record = job.record()
                state.out.append(Save(record))
                state.out.append(JobChanged(record))
            state.dirty.clear()
        return state.out

    def grid(self) -> GridRow:
        """The grid row as it is now; `epoch` and `batch` are the keeper's to set."""
        state = self.state
        return msgspec.structs.replace(
            state.grid,
            now=state.now,
            jobs=state.last_job,
            nodes=state.last_node,
            signatures=state.last_signature,
            tokens=state.last_token,
            invitations=state.last_invitation,
        )

    @property
    def wants_plan(self) -> bool:
        """Whether `Plan` could hand anything out."""
        state = self.state
        return bool(state.offering) and bool(state.woken or state.levels or speculation.is_due(state))

    def _dispatch(self) -> dict[type, Callable[[Any], None]]:
        state = self.state
        return {
            c.Submit: lambda x: jobs.submit(state, x),
            c.Checked: lambda x: jobs.checked(state, x.job, x.problem),
            c.Append: lambda x: intake.append(state, x),
            c.Seal: lambda x: intake.seal(state, x.job),
            c.Cancel: lambda x: jobs.cancel(state, x.job, x.reason),
            c.Pause: lambda x: jobs.pause(state, x.job, True),
            c.Resume: lambda x: jobs.pause(state, x.job, False),
            c.Retry: self._retry,
            c.Reprioritise: lambda x: jobs.reprioritise(state, x.job, x.priority),
            c.Attended: lambda x: intake.attended(state, x.job, x.present),
            c.Join: lambda x: nodes.join(state, x),
            c.Connect: lambda x: nodes.connect(state, x),
            c.Disconnect: lambda x: nodes.disconnect(state, x),
            c.Update: lambda x: nodes.update(state, x),
            c.Fetch: lambda x: nodes.fetch(state, x),
            c.Heartbeat: lambda x: nodes.heartbeat(state, x),
            c.Report: self._report,
            c.Decline: lambda x: nodes.decline(state, x),
            c.Retract: lambda x: reopening.retract(state, x),
            c.Remainder: lambda x: nodes.remainder(state, x),
            c.Tick: self._tick,
            c.Plan: lambda _: plan(state, self.rule),
            c.Put: self._put,
            c.Book: self._book,
            c.Recalled: lambda x: asking.hear(state, x),
            c.Why: lambda x: explain.explain(state, x, self.rule),
            c.Snapshot: lambda _: state.emit(Reply(explain.live(state))),
        }

    def _report(self, command: c.Report) -> None:
        nodes.heard(self.state, command.node)
        reports.report(self.state, command)

    def _retry(self, command: c.Retry) -> None:
        jobs.retry(self.state, command)
        reopening.retry(self.state, self.state.jobs[command.job])

    def _tick(self, command: c.Tick) -> None:
        state = self.state
        gap = state.now - state.last_tick
        state.last_tick = state.now
        if gap > _TICK_GAP_MS:
            leasing.extend_all(state, gap)
        if command.idle:
            leasing.expire(state)
        canaries.expire(state)
        intake.ring(state)
        jobs.forget_names(state)
        asking.ask_again(state)

    def _put(self, command: c.Put) -> None:
        state, record = self.state, command.record
        if not isinstance(record, Partial) and not record.number:
            if isinstance(record, Token):
                state.last_token += 1
                record = msgspec.structs.replace(record, number=state.last_token)
            else:
                state.last_invitation += 1
                record = msgspec.structs.replace(record, number=state.last_invitation)
        if not isinstance(record, Partial) or settling.stands(state, record, command.revision):
            state.save(record)
        state.emit(Reply(record))

    def _book(self, command: c.Book) -> None:
        for entry in command.entries:
            self.state.save(entry)
        self.state.emit(Reply(None))


# --- saved and restored --------------------------------------------------------------------------


class Saved(msgspec.Struct, frozen=True):
    """What a store keeps of an engine: open things only, in the order of their keys."""

    grid: GridRow
    jobs: tuple[Job, ...]
    tasks: tuple[Task, ...]
    assignments: tuple[Assignment, ...]
    nodes: tuple[Node, ...]
    standings: tuple[Standing, ...] = ()


def saved(engine: Engine) -> Saved:
    """The engine's open records; nodes are those that hold something or have voted."""
    state = engine.state
    open_tasks = [task for job in state.jobs.values() for task in job.open.values()]
    votes = [vote.assignment for job in state.jobs.values() for ballot in job.ballots.values() for vote in ballot.votes]
    assignments = [*(lease.assignment for lease in state.leases.values()), *votes]
    return Saved(
        engine.grid(),
        tuple(job.record() for _, job in sorted(state.jobs.items())),
        tuple(sorted(open_tasks, key=lambda task: (task.job, task.ordinal))),
        tuple(sorted(assignments, key=lambda assignment: assignment.key)),
        tuple(node.record for _, node in sorted(state.nodes.items()) if node.held or node.votes),
        tuple(state.standings.all()),
    )


def restore(
    grid: GridRow,
    open_jobs: Iterable[Job],
    tasks: Iterable[Task],
    assignments: Iterable[Assignment],
    open_nodes: Iterable[Node],
    now: int,
    ranking: str = DEFAULT,
    *,
    standings: Iterable[Standing] = (),
    policy: Policy = POLICY,
) -> tuple[Engine, list[Effect]]:
    """An engine from what a store kept, and what must be done at once (programs to look at, work to resume).

    Each open lease begins anew: how long its node was silent while there was no hub is nobody's fault. One whose
    node had gone before gets no more than it had then.
    `restore(saved(engine))` has the same records as `engine`.
    """
    engine = Engine(grid, max(now, grid.now), ranking, policy)
    state = engine.state
    for standing in standings:
        state.standings.remember(standing)
    for record in open_jobs:
        returned = JobRun(record)
        returned.nodes_back_at = state.now + holding.RECONNECT_MS
        jobs.remember(state, returned)
    known = {node.number: node for node in open_nodes}
    kept = {assignment.key: assignment for assignment in assignments if assignment.node in known}
    for task in tasks:
        job = state.jobs.get(task.job)
        if job is not None:
            _restore_task(state, job, task, kept, known)
    for job in state.jobs.values():
        heapify(job.queue)
    _resume(state)
    return engine, engine.told()


def _restore_task(
    state: State, job: JobRun, task: Task, kept: dict[AssignmentKey, Assignment], known: dict[int, Node]
) -> None:
    job.open[task.ordinal] = task
    for attempt in range(task.since, task.attempts):
        assignment = kept.get((task.job, task.ordinal, attempt))
        if assignment is None:
            continue
        number = assignment.node
        node = state.nodes.get(number) or NodeRun(known[number], state.now)
        if job.replicates and voting.is_vote(assignment):
            state.nodes[number] = node
            voting.recall_vote(state, job, assignment, node)
        elif assignment.state is AssignmentState.LEASED and task.state is not TaskState.IN_QUEUE:
            state.nodes[number] = node
            patience = holding.LEASE_MS if known[number].linked else holding.RECONNECT_MS
            holding.hold(state, job, node, Lease(assignment, state.now, patience))
    if job.replicates:
        task = voting.resume(state, job, task, settling.settle)
    if task.state is not TaskState.IN_QUEUE:
        job.in_progress += 1
        # A job that ended and is retried may have left tasks whose assignments are gone.
        leasing.requeue(state, job, task, "Nobody holds it any more.", stale=False)
    else:
        job.in_queue += 1
        job.queue.append(task.ordinal)


def _resume(state: State) -> None:
    for job in list(state.jobs.values()):
        if job.state is JobState.VALIDATING:
            state.emit(Check(job.record()))
        if job.retrying:
            reopening.retry(state, job)
        if not job.sealed:
            job.orphan_at = state.now + limits.ORPHAN_SECONDS * 1000
        jobs.set_alarm(state, job)
        ready.wake(state, job)
        jobs.maybe_complete(state, job)
    for standing in state.standings.all():
        if standing.doubted:
            doubting.begin(state, standing)
