"""What the runs of a job came to, read by anybody who may see the job: in order or as they come, with their inputs.

For jobs of calls these are values and exceptions, for other programs bytes. The one who reads need not be the one who
submitted: how the calls were written is told by the job itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from crowdgrid.client.arrivals import Arrivals
from crowdgrid.client.codec import Codec, Pickled, Plain
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.client.rows import answers_of, failure_of, runs_of
from crowdgrid.client.trust import NotTrusted
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import JobFailed, RemoteError, TimedOut
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection

PLAIN: Final = Plain.runtime
PICKLED: Final = Pickled.runtime


def codec_of(spec_runtime: str) -> Codec | None:
    """How calls of a job of this runtime are written; None: it does not run functions."""
    if spec_runtime == PLAIN:
        return Plain()
    return Pickled() if spec_runtime == PICKLED else None


def outcomes_of(connection: Connection, job: JobLink) -> Outcomes | None:
    """Reads the answers of a job of calls; None: it does not run functions.

    Raises:
        NotTrusted: they are pickles, and nobody's are read here.
    """
    codec = codec_of(job.info.spec.runtime)
    if codec is None:
        return None
    if codec.name != "pickle":
        return Outcomes(codec, job.info.spec.program)
    if not connection.trust.possible:
        raise NotTrusted("The results of this job are pickles, and this grid is not one of your own.")
    return Outcomes(codec, job.info.spec.program, connection.trust)


async def harvested(connection: Connection, job: JobLink, *, ordered: bool, with_inputs: bool) -> Harvest:
    """The outcomes of a job. Raises NotTrusted when what was asked for is not to be opened here."""
    if with_inputs and job.info.spec.runtime == PICKLED:
        await connection.trust.check_inputs(job.info.owner)
    return Harvest(connection, job, ordered=ordered, with_inputs=with_inputs)


class Harvest:
    """The outcomes of one job, from the first. Made by `harvested`.

    Args:
        ordered: in the order of the input; False: as they are done.
        with_inputs: each comes with its input.
    """

    def __init__(self, connection: Connection, job: JobLink, *, ordered: bool, with_inputs: bool) -> None:
        self._connection = connection
        self._job = job
        self._outcomes = outcomes_of(connection, job)
        self._with_inputs = with_inputs
        self._each = per_item(job.info.spec.split)
        signed = self._outcomes is not None and self._outcomes.signed
        self._arrivals = Arrivals(job, connection.rest.blob, ordered=ordered, signed=signed)

    def close(self) -> None:
        """Read no more; on the loop."""
        self._arrivals.close()

    async def take(self, timeout: float | None = None) -> list[tuple[Any, bool, Any]]:
        """(input, whether it succeeded, value or exception) of runs that are ready; none when there are no more.

        The input is None unless it was asked for.

        Raises:
            TimedOut: nothing came within `timeout` seconds.
            CrowdgridError: the job cannot be read any longer.
        """
        try:
            async with asyncio.timeout(timeout):
                tasks = await self._arrivals.take()
        except TimeoutError:
            counts = self._job.info.counts
            raise TimedOut(
                f"No further result came within {timeout:g} s: {counts.units_done:,} of {counts.units:,} are done."
            ) from None
        found: list[tuple[Any, bool, Any]] = []
        for task, payload in tasks:
            inputs = await self._inputs(task)
            found += [(inputs.get(unit), ok, outcome) for unit, ok, outcome in await self._read(task, payload)]
        return found

    def each(self, found: list[tuple[Any, bool, Any]], *, return_exceptions: bool) -> Iterator[Any]:
        """What `take` gave, one after the other as `Job.as_completed` promises it.

        Raises what the first failed run raised, after those before it, unless `return_exceptions`.
        """
        for given, ok, outcome in found:
            if not ok and not return_exceptions:
                raise outcome
            yield (given, outcome) if self._with_inputs else outcome

    async def _read(self, task: m.ResultRow, payload: bytes) -> list[tuple[int, bool, Any]]:
        if self._outcomes is not None:
            answers = self._outcomes.answers(task, payload, await self._outcomes.check(task, payload))
            return [
                (unit, *self._outcomes.outcome(answer, task, unit)) for unit, answer in enumerate(answers, task.start)
            ]
        if why := failure_of(task):
            units = runs_of(task) if self._each else [task.start]
            return [(unit, False, RemoteError(why)) for unit in units]
        if not self._each:
            return [(task.start, True, payload)]
        return [
            (unit, answer.ok, answer.data if answer.ok else RemoteError(answer.error))
            for unit, answer in enumerate(answers_of(task, payload), task.start)
        ]

    async def _inputs(self, task: m.ResultRow) -> dict[int, Any]:
        if not self._with_inputs:
            return {}
        split = self._job.info.spec.split
        if not hasattr(split, "piece") or type(split).__name__ not in ("Items", "Lines"):
            return {task.start: (task.start, task.stop)}
        found: dict[int, Any] = {}
        at = task.start
        while at < task.stop:
            items = await self._connection.rest.input(self._job.id, at, task.stop)
            found.update(enumerate(map(self._input, items), at))
            at += len(items)
        if not self._each:
            return {task.start: [found[unit] for unit in range(task.start, task.stop)]}
        return found

    def _input(self, item: bytes) -> Any:
        """The one argument of a call; all of them when there are several or named ones."""
        if self._outcomes is None:
            return item
        args, kwargs = self._outcomes.codec.arguments(item)
        if kwargs:
            return args, kwargs
        return args[0] if len(args) == 1 else args


async def all_of(harvest: Harvest, *, partial: bool, called: str) -> list[Any]:
    """All values, in order.

    Raises:
        JobFailed: some runs failed and `partial` is not set; the first one's exception is its cause.
    """
    values: list[Any] = []
    first: BaseException | None = None
    failed = 0
    while found := await harvest.take():
        for _, ok, outcome in found:
            if ok:
                values.append(outcome)
            else:
                first, failed = first or outcome, failed + 1
    if first is not None and not partial:
        said = str(first) or type(first).__name__
        raise JobFailed(
            f"{called}: {failed:,} of {failed + len(values):,} calls failed. The first: {type(first).__name__}: {said}",
            hint="job.errors() lists them; result(partial=True) leaves them out; job.retry_failed() runs them again.",
        ) from first
    return values
