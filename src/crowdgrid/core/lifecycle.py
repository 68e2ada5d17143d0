"""The three life cycles, as data: which state may follow which. Anything else is a bug in the engine.

A job completes and may be opened again until its answers are final; a task that lost its lease goes through
`FAILED` back to `PENDING` with its stale count raised; a report may still follow an expired assignment.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, TypeVar

from crowdgrid.core.model import AssignmentState as A
from crowdgrid.core.model import JobState as J
from crowdgrid.core.model import TaskState as T

S = TypeVar("S", J, T, A)

_ended_early = frozenset({J.FAILED, J.CANCELLED})

JOB: Final[Mapping[J, frozenset[J]]] = {
    J.VALIDATING: frozenset({J.INVALID, J.OPEN, J.SEALED}) | _ended_early,
    J.INVALID: frozenset(),
    J.OPEN: frozenset({J.SEALED, J.COMPLETED}) | _ended_early,
    J.SEALED: frozenset({J.COMPLETED}) | _ended_early,
    J.COMPLETED: frozenset({J.SEALED, J.FINAL}) | _ended_early,
    J.FINAL: frozenset({J.SEALED}),  # only by `Retry`, at its owner's word
    J.FAILED: frozenset({J.SEALED}),  # likewise
    J.CANCELLED: frozenset(),
}

TASK: Final[Mapping[T, frozenset[T]]] = {
    T.PENDING: frozenset({T.IN_QUEUE, T.CANCELLED}),
    T.IN_QUEUE: frozenset({T.IN_PROGRESS, T.COMPLETED, T.CANCELLED}),  # completed: by a late report
    T.IN_PROGRESS: frozenset({T.COMPLETED, T.FAILED, T.IN_QUEUE, T.SPLIT, T.CANCELLED}),
    T.COMPLETED: frozenset({T.VALIDATED, T.IN_QUEUE, T.ABANDONED, T.CANCELLED}),  # abandoned: its nodes do not agree
    T.FAILED: frozenset({T.PENDING, T.ABANDONED, T.CANCELLED}),
    T.VALIDATED: frozenset({T.IN_QUEUE}),
    T.SPLIT: frozenset(),
    T.ABANDONED: frozenset({T.PENDING}),  # only by `Retry`
    T.CANCELLED: frozenset(),
}

ASSIGNMENT: Final[Mapping[A, frozenset[A]]] = {
    A.LEASED: frozenset({A.REPORTED, A.EXPIRED, A.DECLINED, A.CANCELLED, A.RETRACTED}),
    A.EXPIRED: frozenset({A.REPORTED}),
    A.DECLINED: frozenset({A.REPORTED}),
    A.CANCELLED: frozenset({A.REPORTED}),
    A.REPORTED: frozenset({A.RETRACTED}),
    A.RETRACTED: frozenset(),
}

JOB_RUNS: Final = frozenset({J.OPEN, J.SEALED})
JOB_LIVES: Final = frozenset({J.VALIDATING, J.OPEN, J.SEALED, J.COMPLETED})
TASK_OPEN: Final = frozenset({T.PENDING, T.IN_QUEUE, T.IN_PROGRESS, T.COMPLETED})


def step(table: Mapping[S, frozenset[S]], path: tuple[S, ...]) -> S:
    """The last state of `path`, every step of which must be in `table`."""
    for before, after in pairwise(path):
        if after not in table[before]:
            raise AssertionError(f"{before!r} may not become {after!r}")
    return path[-1]
