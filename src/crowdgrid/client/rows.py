"""A job's results made into rows for people: one for each run of the program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from crowdgrid import limits
from crowdgrid.client.arrivals import Arrivals
from crowdgrid.client.joblink import JobLink
from crowdgrid.core.model import Outcome, TaskState
from crowdgrid.core.reducing.answers import Answer, unpack_answers
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput
from crowdgrid.protocol import messages as m

ABANDONED: Final = "No node could finish it: too many leases were lost."


@dataclass(frozen=True, slots=True)
class Row:
    """What the grid says about units [start, stop) of a job's input.

    For items and parameter grids that is one run, for ranges and lines one task.

    Attributes:
        ok: the program exited with 0.
        data: what it printed, when ok. error: one sentence, when not.
        node: the did:key of the node that answered, "" when none did.
        task: the ordinal of the task it was part of.
    """

    start: int
    stop: int
    ok: bool
    data: bytes
    error: str
    node: str
    task: int

    @property
    def text(self) -> str:
        """`data` as text, without white space around it."""
        return self.data.decode(errors="replace").strip()


class RowStream:
    """The rows of one job, from the first. Arguments as of `Arrivals`."""

    def __init__(self, job: JobLink, blob: Callable[[str], Awaitable[bytes]], *, ordered: bool = True) -> None:
        self._arrivals = Arrivals(job, blob, ordered=ordered)
        self._each = per_item(job.info.spec.split)

    def close(self) -> None:
        """Read no more."""
        self._arrivals.close()

    async def take(self) -> list[Row]:
        """Rows that are ready, at least one; none when there will be no more.

        Raises:
            CrowdgridError: the job cannot be read any longer.
        """
        return [row for task, payload in await self._arrivals.take() for row in self._rows_of(task, payload)]

    def _rows_of(self, task: m.ResultRow, payload: bytes) -> list[Row]:
        if error := failure_of(task):
            return [Row(a, b, False, b"", error, task.node, task.ordinal) for a, b in self._units(task)]
        if not self._each:
            return [Row(task.start, task.stop, True, payload, "", task.node, task.ordinal)]
        return [
            Row(unit, unit + 1, answer.ok, answer.data if answer.ok else b"", answer.error, task.node, task.ordinal)
            for unit, answer in enumerate(answers_of(task, payload), task.start)
        ]

    def _units(self, task: m.ResultRow) -> Iterator[tuple[int, int]]:
        if not self._each:
            return iter([(task.start, task.stop)])
        return ((unit, unit + 1) for unit in runs_of(task))


def failure_of(task: m.ResultRow) -> str:
    """Why a task as a whole has no answer, "" when it has one."""
    if task.state == TaskState.ABANDONED or task.outcome != Outcome.OK:
        return task.error or ABANDONED
    return ""


def runs_of(task: m.ResultRow) -> range:
    """The units of a task each of which is a run. Raises BadInput when there are more than a task can have."""
    if task.stop - task.start > limits.APPEND_ITEMS:
        raise BadInput(
            f"The hub told of a task of {task.stop - task.start:,} runs; {limits.APPEND_ITEMS:,} is the most."
        )
    return range(task.start, task.stop)


def answers_of(task: m.ResultRow, payload: bytes) -> list[Answer]:
    """The answer of each unit of a task of items. Raises BadInput when there are not as many as units."""
    answers = unpack_answers(payload)
    if len(answers) != task.stop - task.start:
        raise BadInput(f"Task {task.ordinal} has {len(answers)} answers for {task.stop - task.start} units.")
    return answers
