"""Records to rows and back, for both SQL adapters; columns in the order of `schema.py`.

Rows are plain tuples of exact `int`, `str`, `bytes`, `float`: SQLite's driver takes a slow path for anything
else, also for an `IntEnum`. Rows are decoded straight into the structs; a row that cannot be is a damaged store.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from crowdgrid.core.model import (
    Assignment,
    AssignmentState,
    Chunk,
    Counts,
    Credit,
    GridRow,
    Invitation,
    Job,
    JobSpec,
    JobState,
    Node,
    NodeState,
    Outcome,
    Partial,
    Record,
    Result,
    Signature,
    Standing,
    Task,
    TaskState,
    Token,
    TrustMove,
)
from crowdgrid.core.trust.comparison import Comparison
from crowdgrid.errors import BadInput, Fenced, Unavailable
from crowdgrid.store import Claimed, CreditDay, Earned, SettledRow

Row: TypeAlias = Sequence[Any]
Groups: TypeAlias = dict[str, list[tuple[Any, ...]]]
T = TypeVar("T")

_INT: Final = tuple(range(16))  # _INT[state] is the exact int of an IntEnum
_TASK_STATES: Final = tuple(TaskState)
_ASSIGNMENT_STATES: Final = tuple(AssignmentState)
_OUTCOMES: Final = tuple(Outcome)
TASK_COLUMNS: Final = 18
_RESULT: Final = 8  # where an assignment's result begins

_spec = msgspec.json.Decoder(JobSpec)
_counts = msgspec.json.Decoder(Counts)
_words = msgspec.json.Decoder(tuple[str, ...])


# --- to rows ---------------------------------------------------------------------------------


def comparison(spec: str) -> Comparison:
    """How a job, whose specification this is, compares answers."""
    return _spec.decode(spec).comparison


def _job(job: Job, groups: Groups) -> None:
    groups.setdefault("job", []).append((
        job.number, job.owner, job.group, job.name, job.key, job.created_at, job.state.value, job.spec.program,
        msgspec.json.encode(job.counts).decode(), job.paused, job.reason, job.hit, job.revision, job.ended_at,
        job.origin, job.format, job.sealed, job.retrying,
    ))  # fmt: skip


def _task(task: Task, groups: Groups) -> None:
    groups.setdefault("task", []).append((
        task.job, task.ordinal, task.start, task.stop, _INT[task.state], task.created_at, task.attempts, task.stale,
        task.answer, _INT[task.outcome], task.digest, task.errors, task.parent, task.bound_to, task.wanted,
        float(task.confidence), task.since, task.voters or None,
    ))  # fmt: skip


def _assignment(held: Assignment, groups: Groups) -> None:
    lease = (
        held.job, held.ordinal, held.attempt, held.node, _INT[held.state], held.leased_at, held.deadline_ms,
        held.ended_at,
    )  # fmt: skip
    result = held.result
    if result is None:
        groups.setdefault("lease", []).append(lease)
        return
    groups.setdefault("result", []).append((
        *lease, _INT[result.outcome], result.digest, result.payload, result.blob, result.size, result.error,
        result.errors, result.cpu_ms, result.wall_ms, result.memory_bytes, result.signature, result.leaf,
        result.reported_at, result.stderr, result.input,
    ))  # fmt: skip


def _node(node: Node, groups: Groups) -> None:
    groups.setdefault("node", []).append((
        node.number, node.key, node.owner, node.group, node.name, node.created_at, node.state.value,
        msgspec.json.encode(node.runtimes).decode(), msgspec.json.encode(node.labels).decode(), node.region,
        node.milli_cpus, node.memory_bytes, float(node.speed), float(node.trust), node.validated, node.lost,
        node.seen_at, node.inventory, node.benchmarks, node.format, int(node.linked),
        msgspec.json.encode(node.trusts).decode(), node.block,
    ))  # fmt: skip


def _standing(standing: Standing, groups: Groups) -> None:
    groups.setdefault("standing", []).append((
        standing.node, standing.kind, struct.pack(f"<{len(standing.evidence)}d", *standing.evidence), standing.judged,
        float(standing.wrong), standing.updated_at, standing.doubted,
    ))  # fmt: skip


def _plain(group: str) -> Callable[[Any, Groups], None]:
    """A record whose fields are its columns."""

    def encode(record: Any, groups: Groups) -> None:
        groups.setdefault(group, []).append(msgspec.structs.astuple(record))

    return encode


_ENCODERS: Final[Mapping[type, Callable[[Any, Groups], None]]] = {
    Task: _task,
    Assignment: _assignment,
    Job: _job,
    Node: _node,
    Standing: _standing,
    TrustMove: _plain("trust_move"),
    Credit: _plain("credit"),
    Signature: _plain("signature"),
    Chunk: _plain("chunk"),
    Partial: _plain("partial"),
    Token: _plain("token"),
    Invitation: _plain("invitation"),
}


KEY_COLUMNS: Final[Mapping[str, int]] = {
    "job": 1, "job_spec": 1, "task": 2, "lease": 3, "result": 3, "signature": 1, "node": 1, "standing": 2, "trust_move": 4, "credit": 3,
    "chunk": 2,    "partial": 2, "token": 1, "invitation": 1,
}  # fmt: skip
"""How many columns of a group's rows, the first ones, are its key."""


def groups_of(records: Iterable[Record]) -> Groups:
    """Rows by the statement that writes them (`UPSERTS`), each group in the order given."""
    groups: Groups = {}
    for record in records:
        _ENCODERS[type(record)](record, groups)
    return groups


class Specs:
    """Which spec of each live job is in the store, so that one of megabytes is not written with every batch."""

    def __init__(self) -> None:
        self._kept: dict[int, JobSpec] = {}

    def clear(self) -> None:
        """Forget everything: the next save of each job writes its spec."""
        self._kept.clear()

    def rows(self, records: Iterable[Record]) -> list[tuple[int, str]]:
        """The spec rows a batch has to write."""
        changed: dict[int, JobSpec] = {}
        for record in records:
            if type(record) is Job and self._kept.get(record.number) is not record.spec:
                changed[record.number] = record.spec
        return [(number, msgspec.json.encode(spec).decode()) for number, spec in changed.items()]

    def keep(self, records: Iterable[Record]) -> None:
        """The batch is in the store. Ended jobs are not remembered."""
        for record in records:
            if type(record) is Job:
                if record.ended_at:
                    self._kept.pop(record.number, None)
                else:
                    self._kept[record.number] = record.spec


def unstorable(problem: Exception) -> BadInput:
    """A value no column can hold (over 64 bits, not UTF-8): whoever let it in should have refused it."""
    return BadInput(
        f"A record holds a value that cannot be stored: {problem}.",
        hint="Integers must fit into 64 bits and text must be valid Unicode.",
    )


def epochs_of(there: Row | None, before: set[int]) -> set[int]:
    """The epochs the grid row may have once this handle has taken the store over (whether it did may stay unknown).

    Args:
        there: the grid row. before: the epochs this handle may have left in it; empty when it never opened.

    Raises:
        Fenced: another hub took over since; it would be fenced off in turn, and so on for ever.
    """
    epoch = grid(there).epoch if there is not None else 0
    if before and epoch not in before:
        raise Fenced
    return {epoch, epoch + 1}


# --- from rows -------------------------------------------------------------------------------


def grid(row: Row) -> GridRow:
    """From the one row of `grid`, without its id."""
    return GridRow(*row[1:])


def job(row: Row) -> Job:
    """From a row of `job` and its spec."""
    (number, owner, group, name, key, created_at, state, _, counts, paused, reason, hit, revision, ended_at, origin,
     format_, sealed, retrying, spec) = row  # fmt: skip
    return Job(
        number=number,
        owner=owner,
        group=group,
        name=name,
        key=key,
        created_at=created_at,
        state=JobState(state),
        spec=_spec.decode(spec),
        counts=_counts.decode(counts),
        paused=bool(paused),
        reason=reason,
        hit=hit,
        revision=revision,
        ended_at=ended_at,
        origin=origin,
        format=format_,
        sealed=bool(sealed),
        retrying=bool(retrying),
    )


def task(row: Row) -> Task:
    """From a row of `task`."""
    (job_, ordinal, start, stop, state, created_at, attempts, stale, answer, outcome, digest, errors, parent,
     bound_to, wanted, confidence, since, voters) = row  # fmt: skip
    return Task(
        job_, ordinal, start, stop, _TASK_STATES[state], created_at, attempts, stale, answer, _OUTCOMES[outcome],
        digest, errors, parent, bound_to, wanted, confidence, since,
        voters or b"",
    )  # fmt: skip


def assignment(row: Row) -> Assignment:
    """From a row of `assignment`."""
    job_, ordinal, attempt, node_, state, leased_at, deadline_ms, ended_at = row[:_RESULT]
    outcome = row[_RESULT]
    result: Result | None = None
    if outcome is not None:
        told = (*row[_RESULT + 1 : -1], row[-1] or b"")
        result = Result(_OUTCOMES[outcome], *told)
    return Assignment(
        job_, ordinal, attempt, node_, _ASSIGNMENT_STATES[state], leased_at, deadline_ms, ended_at, result
    )


def settled(row: Row) -> SettledRow:
    """From a row of `task` and, beside it, one of `assignment` or nulls."""
    answer = row[TASK_COLUMNS:]
    return SettledRow(task(row[:TASK_COLUMNS]), None if answer[0] is None else assignment(answer))


def node(row: Row) -> Node:
    """From a row of `node`."""
    values = list(row)
    values[6] = NodeState(row[6])
    values[7] = _words.decode(row[7])
    values[8] = _words.decode(row[8])
    values[-3] = bool(row[-3])
    values[-2] = _words.decode(row[-2])
    return Node(*values)


def signature(row: Row) -> Signature:
    """From a row of `signature`."""
    return Signature(*row)


def standing(row: Row) -> Standing:
    """From a row of `standing`. Raises struct.error when its evidence is none."""
    node_, kind, evidence, judged, wrong, updated_at, doubted = row
    seen = struct.unpack(f"<{len(evidence) // 8}d", evidence)
    return Standing(node_, kind, seen, judged, wrong, updated_at, bool(doubted))


def trust_move(row: Row) -> TrustMove:
    """From a row of `trust_move`."""
    return TrustMove(*row)


def credit(row: Row) -> Credit:
    """From a row of `credit`."""
    return Credit(*row)


def credit_day(row: Row) -> CreditDay:
    """From node, owner, day, sum."""
    return CreditDay(int(row[0]), row[1], int(row[2]), int(row[3]))


def earned(row: Row) -> Earned:
    """From node, tasks, units."""
    return Earned(*map(int, row))


def claimed(row: Row) -> Claimed:
    """From ordinal, units, node, CPU ms."""
    return Claimed(*map(int, row))


def chunk(row: Row) -> Chunk:
    """From a row of `chunk`."""
    return Chunk(*row)


def partial(row: Row) -> Partial:
    """From a row of `partial`."""
    return Partial(*row)


def token(row: Row) -> Token:
    """From a row of `token`."""
    return Token(*row)


def invitation(row: Row) -> Invitation:
    """From a row of `invitation`."""
    return Invitation(*row)


def decoded(decode: Callable[[Row], T], rows: Iterable[Row]) -> list[T]:
    """Every row decoded. Raises Unavailable when one makes no sense."""
    try:
        return [decode(row) for row in rows]
    except (ValueError, TypeError, IndexError, struct.error, msgspec.MsgspecError) as problem:
        raise Unavailable(
            f"The store holds a row that cannot be read ({decode.__name__}: {problem}); it is damaged.",
            hint="Restore it from a backup.",
        ) from problem
