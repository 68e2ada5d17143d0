"""What may happen to the engine, as values. `Engine.handle(command, now)` is the only way to change it.

Commands are checked where they enter the hub; the engine refuses what its state does not allow by
raising a `CrowdgridError` before anything has changed.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    Chunk,
    Credit,
    Invitation,
    Job,
    JobSpec,
    Node,
    Outcome,
    Partial,
    Task,
    Token,
)

# --- from submitters -------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True):
    """Open a job. Answered by `Reply(Job)`; the same owner and `key` again gives the same job.

    `units` is the input's size for a range or grid, 0 for what will be appended; `sealed` says nothing
    will be appended. `checked`: the program is known to be good.
    """

    owner: str
    spec: JobSpec
    units: int = 0
    sealed: bool = False
    name: str = ""
    key: str = ""
    group: str = ""
    checked: bool = False
    origin: str = ""


class Checked(msgspec.Struct, frozen=True):
    """The program of a job was looked at: `problem` is "" when it can run."""

    job: int
    problem: str = ""


class Append(msgspec.Struct, frozen=True):
    """Input for an open job; `chunk.job` and `chunk.first` name the place. Answered by `Reply(effects.Appended)`.

    A chunk that begins below what the job has changes nothing, so that asking twice is harmless; a gap is refused.
    """

    chunk: Chunk


class Seal(msgspec.Struct, frozen=True):
    """Nothing more will be appended."""

    job: int


class Cancel(msgspec.Struct, frozen=True):
    """End a job for good; what runs is withdrawn."""

    job: int
    reason: str = "Cancelled by its submitter."


class Pause(msgspec.Struct, frozen=True):
    """Lease nothing more of a job; what runs goes on."""

    job: int


class Resume(msgspec.Struct, frozen=True):
    """Undo `Pause`."""

    job: int


class Retry(msgspec.Struct, frozen=True):
    """Run a job's abandoned and failed tasks again. Answered by `Reply(None)`; the work goes on by `Recall`.

    `record` is the job as stored: one that has ended is no longer in the engine's memory.
    """

    job: int
    record: Job | None = None


class Reprioritise(msgspec.Struct, frozen=True):
    """Give a job another priority."""

    job: int
    priority: int


class Attended(msgspec.Struct, frozen=True):
    """A client has an open job in hand (`present`), or its last client went away."""

    job: int
    present: bool


# --- from nodes ------------------------------------------------------------------------------


class Join(msgspec.Struct, frozen=True):
    """A new node. Answered by `Reply(Node)`. `node.number` is 0; `invitation` is saved as given."""

    node: Node
    invitation: Invitation | None = None


class Connect(msgspec.Struct, frozen=True):
    """A known node opened a link; `node` is its record with what it told of itself just now.

    A link already open for it is replaced: the newest `session` counts. `news`: what it offers to run, or for whom,
    is not what it was, so that jobs it declined are offered to it again.
    """

    node: Node
    session: int
    news: bool = False


class Disconnect(msgspec.Struct, frozen=True):
    """A node's link closed. Its leases go on for `reconnect_seconds`."""

    node: int
    session: int


class Update(msgspec.Struct, frozen=True):
    """A node, its owner or an operator changed its record (name, limits, state)."""

    node: Node


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """A standing offer, replacing the node's last one: so many more assignments, each of at most so much."""

    node: int
    slots: int
    milli_cpus: int
    memory_bytes: int


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """A node is alive and holds these assignments; only they are renewed."""

    node: int
    held: tuple[AssignmentKey, ...] = ()


class Reported(msgspec.Struct, frozen=True, gc=False):
    """One result in a report. Fields as in `model.Result`; `leaf` is its place in the signed batch."""

    assignment: AssignmentKey
    outcome: Outcome
    digest: bytes
    payload: bytes = b""
    blob: str = ""
    size: int = 0
    error: str = ""
    errors: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    memory_bytes: int = 0
    leaf: int = 0
    stderr: bytes = b""
    hit: bool = False  # some run answered with something that is not empty (for `first`)
    input: bytes = b""


class Report(msgspec.Struct, frozen=True):
    """A node delivers results. `leaves` and `signature` as in `model.Signature`, empty when unsigned."""

    node: int
    results: tuple[Reported, ...]
    leaves: bytes = b""
    signature: bytes = b""


class Decline(msgspec.Struct, frozen=True):
    """A node gives assignments back untouched. `stale`: whether that counts against the task."""

    node: int
    assignments: tuple[AssignmentKey, ...]
    reason: str = ""


class Retract(msgspec.Struct, frozen=True):
    """A node withdraws an answer it has given: the task is opened again if it stood on it."""

    node: int
    assignment: AssignmentKey
    reason: str = ""


class Remainder(msgspec.Struct, frozen=True):
    """A node did [start, at) of a task and gives back [at, stop): the task is split there. The first part is
    leased to the node anew (it reports it under the new assignment), the second goes back to the queue."""

    node: int
    assignment: AssignmentKey
    at: int


# --- from the hub itself ---------------------------------------------------------------------


class Tick(msgspec.Struct, frozen=True):
    """Time passed. `idle`: the inbound queue was empty, so silence may be judged."""

    idle: bool


class Plan(msgspec.Struct, frozen=True):
    """Hand out work: the keeper says this once at the end of each batch."""


class Put(msgspec.Struct, frozen=True):
    """Keep a token, an invitation or a partial. A number of 0 gets the next one. Answered by `Reply(record)`.

    `revision`: of the job when the rows of a partial were read; the partial is kept only if nothing of the job was
    opened again since. A partial of a job that has ended is not kept.
    """

    record: Token | Invitation | Partial
    revision: int = -1


class Book(msgspec.Struct, frozen=True):
    """Keep entries of credit. Answered by `Reply(None)`."""

    entries: tuple[Credit, ...]


class Recalled(msgspec.Struct, frozen=True):
    """The answer to `effects.Recall`. `cursor` empty: there is no more. `problem`: why answers could not be compared."""

    recall: int
    tasks: tuple[Task, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    cursor: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = ()
    close: tuple[tuple[int, int], ...] = ()  # attempts whose answers are the same
    problem: str = ""


class Why(msgspec.Struct, frozen=True):
    """Explain a job, task or node. Answered by `Reply(Explanation)`. Changes nothing."""

    job: int = 0
    ordinal: int = -1
    node: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """What is alive and not in the store: answered by `Reply(effects.Live)`. Changes nothing."""


Command: TypeAlias = (
    Submit
    | Checked
    | Append
    | Seal
    | Cancel
    | Pause
    | Resume
    | Retry
    | Reprioritise
    | Attended
    | Join
    | Connect
    | Disconnect
    | Update
    | Fetch
    | Heartbeat
    | Report
    | Decline
    | Retract
    | Remainder
    | Tick
    | Plan
    | Put
    | Book
    | Recalled
    | Why
    | Snapshot
)
