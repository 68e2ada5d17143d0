"""The same grid for coroutines: every method that waits is awaited, every iterator is an asynchronous one.

    async with crowdgrid.aio.connect() as grid:
        job = await grid.run("primes.wasm", split=crowdgrid.Range(0, 10**9), reduce="sum")
        print(await job.result())
        async for y in grid.map(square, range(10**6)):
            ...

Both faces stand on one core, which runs on crowdgrid's own thread; what is awaited here waits for it without
blocking the caller's event loop. What takes time on the caller's side (capturing a function, starting a local grid) is
done on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from functools import partial
from typing import Any, Self, TypeVar

from crowdgrid.client import background
from crowdgrid.client import grid as grids
from crowdgrid.client.functions import Function, function
from crowdgrid.client.futures import GridFuture
from crowdgrid.client.grid import Grid
from crowdgrid.client.job import Job
from crowdgrid.client.local import local as _local
from crowdgrid.client.mapping import Mapped
from crowdgrid.client.rows import Row
from crowdgrid.core.model import Counts

__all__ = ["AsyncGrid", "AsyncJob", "connect", "local"]

T = TypeVar("T")


async def _there(work: Coroutine[Any, Any, T]) -> T:
    """Await something on crowdgrid's loop; cancelling this cancels it."""
    return await asyncio.wrap_future(background.start(work))


async def _aside(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call something that blocks, on a thread."""
    return await asyncio.to_thread(partial(call, *args, **kwargs))


class AsyncJob:
    """One job; see `Job`, whose names these are.

    Attributes:
        job: the same job for code that may block.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.id = job.id

    def __repr__(self) -> str:
        return repr(self.job)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.job._repr_mimebundle_()

    @property
    def name(self) -> str:
        """See `Job.name`."""
        return self.job.name

    @property
    def state(self) -> str:
        """See `Job.state`."""
        return self.job.state

    @property
    def revision(self) -> int:
        """See `Job.revision`."""
        return self.job.revision

    @property
    def counts(self) -> Counts:
        """See `Job.counts`."""
        return self.job.counts

    @property
    def eta(self) -> float | None:
        """See `Job.eta`."""
        return self.job.eta

    async def wait(self, timeout: float | None = None) -> str:
        """See `Job.wait`."""
        return await _there(self.job.core.ended(timeout))

    async def result(self, timeout: float | None = None, *, partial: bool = False) -> Any:
        """See `Job.result`."""
        return await _there(self.job.core.answer(timeout, partial=partial))

    async def results(self, *, ordered: bool = True, timeout: float | None = None) -> AsyncIterator[Row]:
        """See `Job.results`."""
        stream = await _there(self.job.core.stream(ordered=ordered))
        try:
            while rows := await _there(self.job.core.timed(stream.take(), timeout, "No further result came")):
                for row in rows:
                    yield row
        finally:
            background.loop().call_soon_threadsafe(stream.close)
        await _there(self.job.core.check_ended())

    async def as_completed(
        self,
        *,
        with_inputs: bool = False,
        ordered: bool = False,
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Any]:
        """See `Job.as_completed`."""
        harvest = await _there(self.job.core.harvest(ordered=ordered, with_inputs=with_inputs))
        try:
            while found := await _there(harvest.take(timeout)):
                for outcome in harvest.each(found, return_exceptions=return_exceptions):
                    yield outcome
        finally:
            background.loop().call_soon_threadsafe(harvest.close)
        await _there(self.job.core.check_ended())

    async def fed(self) -> None:
        """See `Job.fed`."""
        await _aside(self.job.fed)

    async def cancel(self, reason: str = "") -> None:
        """See `Job.cancel`."""
        await _aside(self.job.cancel, reason)

    async def pause(self) -> None:
        """See `Job.pause`."""
        await _aside(self.job.pause)

    async def resume(self) -> None:
        """See `Job.resume`."""
        await _aside(self.job.resume)

    async def retry_failed(self) -> None:
        """See `Job.retry_failed`."""
        await _aside(self.job.retry_failed)

    async def errors(self, limit: int = 100) -> list[dict[str, Any]]:
        """See `Job.errors`."""
        return await _aside(self.job.errors, limit)

    async def logs(self, limit: int = 100) -> list[dict[str, Any]]:
        """See `Job.logs`."""
        return await _aside(self.job.logs, limit)

    async def tasks(self, state: str = "") -> list[dict[str, Any]]:
        """See `Job.tasks`."""
        return await _aside(self.job.tasks, state)

    async def why(self) -> dict[str, Any]:
        """See `Job.why`."""
        return await _aside(self.job.why)


class AsyncGrid:
    """One grid; see `Grid`. Made by `connect` and `local`, to be used in an `async with` block.

    Attributes:
        grid: the same grid for code that may block.
    """

    def __init__(self, make: Callable[[], Grid]) -> None:
        self._make = make
        self.grid: Grid

    async def __aenter__(self) -> Self:
        self.grid = await _aside(self._make)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    @property
    def url(self) -> str:
        """See `Grid.url`."""
        return self.grid.url

    async def close(self) -> None:
        """See `Grid.close`."""
        await _aside(self.grid.close)

    async def run(self, program: Any, **how: Any) -> AsyncJob:
        """See `Grid.run`."""
        return AsyncJob(await _aside(self.grid.run, program, **how))

    async def job(self, name_or_id: str) -> AsyncJob:
        """See `Grid.job`."""
        return AsyncJob(await _aside(self.grid.job, name_or_id))

    async def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        """See `Grid.jobs`."""
        return await _aside(self.grid.jobs, limit)

    async def nodes(self, limit: int = 100) -> list[dict[str, Any]]:
        """See `Grid.nodes`."""
        return await _aside(self.grid.nodes, limit)

    async def call(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call a function on the grid; see `Function.submit`."""
        future: GridFuture[T] = await _aside(self._function(fn).submit, *args, **kwargs)
        return await future

    async def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any], **how: Any) -> AsyncIterator[T]:
        """Call a function for each element; see `Function.map`. The input is read on a thread."""
        mapped: Mapped[T] = await _aside(self._function(fn).map, *iterables, progress=False, **how)
        try:
            while found := await _there(mapped.take()):
                for ok, outcome in found:
                    if not ok and not mapped.return_exceptions:
                        raise outcome
                    yield outcome
        finally:
            mapped.close()

    async def spawn_map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any], **how: Any) -> AsyncJob:
        """See `Function.spawn_map`."""
        return AsyncJob(await _aside(self._function(fn).spawn_map, *iterables, **how))

    def _function(self, fn: Callable[..., Any]) -> Function[..., Any]:
        made: Function[..., Any] = function(grid=self.grid)(fn)
        return made


def connect(url: str | None = None, token: str | None = None, *, trust: Iterable[str] = ()) -> AsyncGrid:
    """See `crowdgrid.connect`; to be awaited, or used in an `async with` block."""
    return AsyncGrid(partial(grids.connect, url, token, trust=trust))


def local(agents: int = 1, cpus: int | None = None, path: Any = None) -> AsyncGrid:
    """See `crowdgrid.local`; to be awaited, or used in an `async with` block."""
    return AsyncGrid(partial(_local, agents, cpus, path))
