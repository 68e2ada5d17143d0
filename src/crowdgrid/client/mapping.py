"""A map: one durable job, fed from the caller's iterator, its results handed to the caller's loop.

Reading input, the grid's work and taking results go on at the same time, each as fast as the slowest of them: input
is never further ahead of what was taken than a window, so ten million elements cost no more memory than a thousand.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from crowdgrid import limits
from crowdgrid.client import background
from crowdgrid.client.arrivals import Arrivals
from crowdgrid.client.codec import Codec
from crowdgrid.client.jobcore import ANSWERED
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.options import Options
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.client.programs import HEAD_BYTES, name_in
from crowdgrid.client.stuck import tell_if_stuck
from crowdgrid.core import model
from crowdgrid.errors import CannotTravel, CrowdgridError, JobFailed, TimedOut
from crowdgrid.protocol import messages as m

if TYPE_CHECKING:
    from crowdgrid.client.calling import Program
    from crowdgrid.client.grid import Connection
    from crowdgrid.client.progress import Wanted

R = TypeVar("R")


class CallItems:
    """Calls as the input of a job: a split like those of `splits`."""

    def __init__(self, items: Iterator[bytes], piece: int) -> None:
        self._items = items
        self.spec: model.Split = model.Items(piece)

    def feed(self) -> Iterator[bytes]:
        """The calls as items."""
        return self._items


def items_of(calls: Iterable[tuple[Any, ...]], codec: Codec, piece: int = 0) -> CallItems:
    """The input of a job that calls a function with each of `calls`."""
    return CallItems(_written(calls, codec), piece)


def _written(calls: Iterable[tuple[Any, ...]], codec: Codec) -> Iterator[bytes]:
    write = codec.call
    none: dict[str, Any] = {}
    for at, args in enumerate(calls):
        try:
            item = write(args, none)
        except CannotTravel as error:
            error.add_note(f"It is element {at:,} of the input.")
            raise
        yield item


class Taking:
    """The results of one map on their way to one taker; on crowdgrid's loop but for `taken`."""

    def __init__(
        self, connection: Connection, program: Program, outcomes: Outcomes, calls: Iterable[tuple[Any, ...]]
    ) -> None:
        self._connection = connection
        self._program = program
        self._outcomes = outcomes
        self._calls = calls
        self.taken = 0  # units whose results somebody has taken
        self.timeout: float | None = None  # seconds the taker waits for more
        self._closed = False
        self.job: JobLink
        self.feed: Future[None] | None = None
        self._arrivals: Arrivals
        self._watching: asyncio.Task[None]

    async def start(self, options: Options, *, ordered: bool) -> None:
        """Open the job, begin to feed and to read it."""
        codec = self._program.codec
        request = options.map_request(codec, kept=False)
        source = items_of(self._calls, codec, options.piece)
        self.job, self.feed = await self._connection.open(
            self._program.content, request, source, taken=lambda: self.taken
        )
        self._watching = asyncio.get_running_loop().create_task(tell_if_stuck(self._connection.rest, self.job))
        self._arrivals = Arrivals(self.job, self._connection.rest.blob, ordered=ordered, signed=self._outcomes.signed)

    async def take(self) -> list[tuple[m.ResultRow, bytes, CrowdgridError | None]]:
        """Settled tasks that are ready, whether they may be read; none when there will be no more.

        Raises:
            CrowdgridError: the job ended without all its results, or cannot be reached.
            TimedOut: nothing came within `timeout`.
            Exception: what the input raised, once what came before it was taken.
        """
        try:
            async with asyncio.timeout(self.timeout):
                tasks = await self._arrivals.take()
        except TimeoutError:
            raise TimedOut(f"No further result came within {self.timeout:g} s.") from None
        if not tasks:
            await self._check_ended()
        if self._outcomes.signed:
            return [(task, payload, await self._outcomes.check(task, payload)) for task, payload in tasks]
        return [(task, payload, None) for task, payload in tasks]

    async def finish(self) -> None:
        """Wait until everything is computed, however much of it was taken."""
        self.taken = limits.JOB_ITEMS
        self.told()
        while not (self._closed or self.job.ended or self.job.failure):
            await self.job.changed()

    def told(self) -> None:
        """More was taken: the input may go on."""
        self.job.tell()

    async def _check_ended(self) -> None:
        if self.feed is not None:
            try:
                await asyncio.wrap_future(self.feed)
            except JobFailed as error:
                raise (error.__cause__ or error) from None
        info = self.job.info
        if info.state not in ANSWERED:
            reason = info.reason.rstrip(".") or f"it is {info.state}"
            raise JobFailed(f"The map ended early: {reason}.")

    def see_through(self, closing: Future[None]) -> None:
        """Have the end of the program wait for it: the grid is to know before."""
        self._connection.see_through(closing)

    async def close(self) -> None:
        """What nobody takes need not be computed. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._watching.cancel()
        self._arrivals.close()
        if not self.job.ended and self.job.failure is None:
            try:
                async with asyncio.timeout(1.0):
                    await self.job.cancel("Nobody takes its results any more.")
            except (CrowdgridError, TimeoutError):
                pass  # an open job whose client is gone is sealed by the hub after a while
        self._connection.link.let_go(self.job)


class Showing(NamedTuple):
    """How its progress is shown; see `progress.showing`."""

    title: str
    wanted: Wanted
    total: int | None


class Mapped(Iterator[R], Generic[R]):
    """The results of a map, to be iterated once. `close()` it, or drop it, to cancel what is left.

    Attributes:
        id: the public id of its job.
    """

    def __init__(
        self,
        connection: Connection,
        program: Program,
        outcomes: Outcomes,
        calls: Iterable[tuple[Any, ...]],
        options: Options,
        *,
        ordered: bool,
        return_exceptions: bool,
        progress: Wanted,
        total: int | None = None,
    ) -> None:
        self.return_exceptions = return_exceptions
        self._outcomes = outcomes
        self._taking = Taking(connection, program, outcomes, calls)
        background.run(self._taking.start(options, ordered=ordered))
        self.id = self._taking.job.id
        self._closing = weakref.finalize(self, _close, self._taking)
        self._closing.atexit = False
        # Not a method: it must not keep this object alive, or dropping it would not end the job.
        how = Showing(name_in(program.content[:HEAD_BYTES]) or self.id, progress, total)
        self._values = _values(self._taking, outcomes, return_exceptions, how)
        self._next: Callable[[], R] = self._values.__next__

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        return self._next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        counts = self._taking.job.info.counts
        return f"<map {self.id}: {counts.units_done:,} of {counts.units:,} calls done>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from crowdgrid.client import notebook

        return notebook.mapped(self._taking.job)

    def finish(self) -> None:
        """Have all of it computed, whether somebody takes the results or not; returns when it is."""
        self._closing.detach()
        background.run(self._taking.finish())

    def close(self) -> None:
        """Take no more; what is not computed yet is cancelled."""
        self._values.close()
        if self._closing.detach():  # called, it would do nothing while the program ends
            _close(self._taking)

    async def take(self) -> list[tuple[bool, Any]]:
        """(whether it returned, result or exception) of calls that are ready; none when there are no more.

        On crowdgrid's loop, instead of iterating.
        """
        found: list[tuple[bool, Any]] = []
        for task, payload, refused in await self._taking.take():
            answers = self._outcomes.answers(task, payload, refused)
            found += [self._outcomes.outcome(answer, task, unit) for unit, answer in enumerate(answers, task.start)]
            self._taking.taken += task.stop - task.start
        self._taking.told()
        return found

    def next(self, timeout: float | None) -> R:
        """The next result, within `timeout` seconds. Raises TimedOut, StopIteration."""
        self._taking.timeout = timeout
        try:
            return self._next()
        finally:
            self._taking.timeout = None


def _values(taking: Taking, outcomes: Outcomes, return_exceptions: bool, how: Showing) -> Generator[Any, None, None]:
    from crowdgrid.client.progress import showing

    try:
        with showing(how.title, how.wanted, taking.job, total=how.total) as moved:
            # Nothing here may hold on to a result: it is the caller's alone.
            value = outcomes.value_or_exception if return_exceptions else outcomes.value
            while tasks := background.run(taking.take()):
                for task, payload, refused in tasks:
                    for unit, answer in enumerate(outcomes.answers(task, payload, refused), task.start):
                        yield value(answer, task, unit)
                    taking.taken += task.stop - task.start
                    moved(taking.taken)
                background.loop().call_soon_threadsafe(taking.told)
    finally:
        _close(taking)


def _close(taking: Taking) -> None:
    """On any thread, the garbage collector's too."""
    with suppress(RuntimeError):  # the loop is closed: the process ends
        taking.see_through(background.start(taking.close()))
