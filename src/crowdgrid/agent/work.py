"""What the agent holds: leases in queues, one queue for each job, and what their runs come to.

Leases of one job share program, arguments and limits, and usually take about as long as one another.
So they share a `JobQueue`, which also remembers how long a run takes: several short tasks then go to a
worker in one call.

Outcomes: a task with one run reports that run; a task with several (items, grid) reports packed answers
and counts the failed ones. What the machine did wrong in any run is a node error of the whole task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.core.model import Outcome
from crowdgrid.errors import BadInput
from crowdgrid.protocol import packing, signing
from crowdgrid.protocol.messages import Lease, LeaseSpec, ResultEntry
from crowdgrid.runtimes import Finished, Group, Limits, Result, Results, Runs
from crowdgrid.runtimes import Outcome as Ran

_PACKED: Final = frozenset({"items", "grid"})  # splits whose units are runs of their own
_SOME: Final = 8
_SLOWER, _FASTER = 0.3, 0.6  # weights of a new measurement: a first one includes loading the program
# Looking a member up in its enumeration takes longer than all else that is done for a trivial run.
_RAN_OK: Final = Ran.OK
_NODE_ERROR: Final = Ran.NODE_ERROR


class JobQueue:
    """Leases of one job that wait here, oldest first, and what is known about running them."""

    __slots__ = ("limits", "packed", "path", "program", "run_seconds", "spec", "waiting")

    def __init__(self, spec: LeaseSpec) -> None:
        self.spec = spec
        self.program = bytes.fromhex(spec.program)
        self.limits = Limits(spec.timeout_ms, spec.memory_bytes, spec.output_bytes)
        self.packed = spec.split in _PACKED
        self.waiting: deque[Held] = deque()
        self.path = ""  # where the program is, once it is here
        self.run_seconds = 0.0  # moving average of one run, 0 unknown

    @property
    def waiting_seconds(self) -> float:
        """About how long one worker would need for what waits: a few tasks stand for all. 0 while nothing is known."""
        count = len(self.waiting)
        if not count or not self.run_seconds:
            return 0.0
        some = [self.waiting[at].run_count for at in range(0, count, -(-count // _SOME))]
        return count * sum(some) / len(some) * self.run_seconds

    def observe(self, seconds: float, runs: int) -> None:
        """`runs` runs took `seconds` together."""
        one = max(seconds / runs, 1e-6)
        if not self.run_seconds:
            self.run_seconds = one
        else:
            self.run_seconds += (one - self.run_seconds) * (_FASTER if one < self.run_seconds else _SLOWER)

    def runs_within(self, seconds: float) -> int:
        """How many runs are expected to take `seconds`, at least 1; 1 while nothing is known."""
        return max(1, int(seconds / self.run_seconds)) if self.run_seconds else 1


class Held:
    """One assignment this node holds and has not answered yet.

    Raises:
        BadInput: the input names a blob that can be none.

    Attributes:
        input: digest of its input and of its job's arguments, 32 bytes.
        expires: monotonic time at which its deadline passes.
        runs: what is to run, once prepared. finished: what came of the first of them.
        tries: how often it was started. dropped: nobody wants its answer any more.
        broken: a run was lost to a fault of this machine.
    """

    __slots__ = (
        "arrival",
        "broken",
        "dropped",
        "expires",
        "finished",
        "input",
        "lease",
        "queue",
        "running",
        "runs",
        "tries",
    )

    def __init__(self, queue: JobQueue, lease: Lease, expires: float, arrival: int) -> None:
        self.queue = queue
        self.lease = lease
        self.input = packing.input_digest(lease.input, queue.spec.args)
        self.expires = expires
        self.arrival = arrival
        self.runs = Runs()
        self.finished = Results()
        self.tries = 0
        self.running = False
        self.dropped = False
        self.broken = False

    @property
    def id(self) -> bytes:
        """The assignment's public id."""
        return self.lease.assignment

    @property
    def run_count(self) -> int:
        """How often the program runs for it, as far as is known before its input is here."""
        return len(self.runs) or (self.lease.stop - self.lease.start if self.queue.packed else 1)

    def prepare(self, fetched: Mapping[str, bytes]) -> None:
        """Make `runs` from the input. Raises BadInput when the input is not what it says it is."""
        args, bounds = self.queue.spec.args, self.queue.limits
        tails, stdins = packing.runs_of(self.lease.input, fetched)
        groups = [Group(args + tail, [b""], bounds) for tail in tails]
        if stdins:
            groups.append(Group(args, stdins, bounds))
        if not groups:
            raise BadInput("The task has no runs.")
        self.runs = Runs(groups)


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer ready to be signed: the entry of the report, its leaf's hash, and the bytes of its blob if
    it is too large for a message."""

    entry: ResultEntry
    leaf: bytes
    blob: bytes = b""


def answer(held: Held, lease: Lease, finished: Results, grid: bytes) -> Answered:
    """What `finished`, one for each run, comes to as the answer of `lease`.

    `lease` is the held one, or the one its first part was leased as anew after `Remainder`.
    """
    queue = held.queue
    told = finished.told
    errors, exit_code = 0, 0
    bad = next((one for one in told if one.outcome is _NODE_ERROR), None)
    if bad is not None:
        outcome, payload, error = Outcome.NODE_ERROR, b"", bad.error
    elif queue.packed:
        answers = _answers(finished.items)
        outcome, payload, error = Outcome.OK, packing.pack_answers(answers), ""
        errors = sum([not one.ok for one in answers])
    elif finished[0].outcome is _RAN_OK:
        outcome, payload, error = Outcome.OK, finished[0].stdout, ""
    else:
        outcome, payload, error = Outcome.PROGRAM_ERROR, b"", finished[0].error
        exit_code, errors = finished[0].exit_code, 1
    error = error[: limits.ANSWER_ERROR_CHARS]
    digest = packing.answer_digest(ok=outcome is Outcome.OK, payload=payload, exit_code=exit_code, error=error)
    inline = len(payload) <= limits.INLINE_BYTES
    cpu_ms, wall_ms, memory = _usage(told)
    entry = ResultEntry(
        lease.assignment,
        outcome,
        digest,
        payload if inline else b"",
        "" if inline else digest.hex(),
        len(payload),
        error,
        errors,
        cpu_ms,
        wall_ms,
        memory,
        _written(told),
    )
    leaf = signing.leaf_bytes(
        grid,
        lease.assignment,
        queue.program,
        held.input if lease is held.lease else packing.input_digest(lease.input, queue.spec.args),
        outcome,
        digest,
        (cpu_ms, wall_ms, memory, len(payload)),
    )
    return Answered(entry, signing.leaf_hash(leaf), b"" if inline else payload)


def _usage(told: Sequence[Finished]) -> tuple[int, int, int]:
    """CPU time, elapsed time, memory. Of runs of which nothing is told all three are nothing."""
    return (
        sum([one.cpu_ms for one in told]),
        sum([one.wall_ms for one in told]),
        max([one.memory_bytes for one in told], default=0),
    )


def _written(told: Sequence[Finished]) -> bytes:
    """What is kept of all the runs wrote: the first failed one that wrote anything, else the last."""
    failed = [one for one in told if one.outcome is not _RAN_OK]
    return next((one.stderr for one in failed or reversed(told) if one.stderr), b"")


def _answers(items: Sequence[Result]) -> list[packing.Answer]:
    """One answer a run; that of a call that raised holds what it raised. Together they are bounded: those beyond the
    bound fail, the same on every node."""
    answers = [packing.Answer(True, item) if isinstance(item, bytes) else _answer(item) for item in items]
    if sum([len(one.data) for one in answers]) > limits.OUTPUT_BYTES:
        left = limits.OUTPUT_BYTES
        for at, one in enumerate(answers):
            left -= len(one.data)
            if left < 0:
                error = "The answers of one task are too large together." if one.ok else one.error
                answers[at] = packing.Answer(False, b"", error)
    return answers


def _answer(one: Finished) -> packing.Answer:
    if one.outcome is _RAN_OK:
        return packing.Answer(True, one.stdout)
    return packing.Answer(False, one.stdout, one.error[: limits.ANSWER_ERROR_CHARS])
