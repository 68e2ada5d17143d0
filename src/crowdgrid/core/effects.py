"""What the engine wants done, as values, in order. The hub performs them; records are committed before
anything is told to anybody."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    Invitation,
    Job,
    Node,
    Partial,
    Record,
    Task,
    Token,
    Verdict,
)


class Save(msgspec.Struct, frozen=True, gc=False):
    """Keep this record, in place of the one with the same key."""

    record: Record


class DropPartial(msgspec.Struct, frozen=True, gc=False):
    """Forget the partial of one block: a task in it was opened again."""

    job: int
    block: int


class Check(msgspec.Struct, frozen=True):
    """Look at a job's program and answer with `commands.Checked`."""

    job: Job


class Assign(msgspec.Struct, frozen=True, gc=False):
    """Send these leases to a node. `again`: sent before, and two heartbeats did not name them."""

    node: int
    session: int
    leases: tuple[tuple[Task, Assignment], ...]
    lease_ms: int
    again: bool = False


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Tell a node to drop assignments it holds."""

    node: int
    session: int
    assignments: tuple[AssignmentKey, ...]
    reason: str


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """Answer a node's results, each with its verdict."""

    node: int
    verdicts: tuple[tuple[AssignmentKey, Verdict], ...]


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A task has an answer: for whoever waits for the job's results."""

    job: int
    task: Task
    assignment: Assignment


class JobChanged(msgspec.Struct, frozen=True, gc=False):
    """A job's state or counters moved. At most one per job and command."""

    job: Job


class NodeChanged(msgspec.Struct, frozen=True, gc=False):
    """A node came (`online`), went or changed."""

    node: Node
    online: bool


class TaskChanged(msgspec.Struct, frozen=True, gc=False):
    """A task moved in a way people watching its job want to see (lost, retried, split, abandoned)."""

    task: Task
    why: str


class CloseLink(msgspec.Struct, frozen=True):
    """End a node's link: a newer one replaced it, or the node was removed."""

    node: int
    session: int
    reason: str


class Recall(msgspec.Struct, frozen=True):
    """Read back what has left memory and answer with `commands.Recalled(recall, …)`.

    Attributes:
        query: "assignment" (key: job, ordinal, attempt: that assignment, its task and all the task's
            assignments), "unsettled" (key: job: its open and abandoned tasks and those whose answer has errors),
            "voted" (key: job, node: the job's settled tasks the node voted on, with all their assignments and the
            nodes of these), "alone" (key: job, n: the last n tasks each node
            has answered alone, their answers in the same order, and the nodes), "compare" (key: job, ordinal and attempts whose answers differ in their bytes: which of
            them are the same by the job's comparison).
        cursor: where the last page ended, empty at first. limit: rows at most.
    """

    recall: int
    query: str
    key: tuple[int, ...]
    cursor: tuple[int, ...] = ()
    limit: int = 1000


class Reason(msgspec.Struct, frozen=True):
    """One sentence of an explanation, and whether it stands in the way."""

    text: str
    blocks: bool = False


class Explanation(msgspec.Struct, frozen=True):
    """Why a job, task or node is as it is."""

    subject: str
    summary: str
    reasons: tuple[Reason, ...] = ()
    matched: tuple[int, ...] = ()  # node numbers
    rejected: tuple[tuple[int, tuple[str, ...]], ...] = ()


class LiveNode(msgspec.Struct, frozen=True, gc=False):
    """A node as the engine has it now."""

    node: int
    online: bool
    held: int
    slots: int  # offered and not yet filled


class Live(msgspec.Struct, frozen=True):
    """What is alive and not in the store."""

    nodes: tuple[LiveNode, ...]
    open_jobs: int
    open_tasks: int
    leased: int


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A job's units now, and how many of the chunk's, its first ones, were there before. If any were, nothing of it
    was appended: whoever asked compares them and appends the rest."""

    units: int
    known: int = 0


class Reply(msgspec.Struct, frozen=True):
    """The answer to the command's sender."""

    value: Job | Node | Token | Invitation | Partial | Explanation | Live | Appended | None


Effect: TypeAlias = (
    Save
    | DropPartial
    | Check
    | Assign
    | Withdraw
    | Acknowledge
    | Settled
    | JobChanged
    | NodeChanged
    | TaskChanged
    | CloseLink
    | Recall
    | Reply
)
