"""`Executor`: a grid behind the interface of `concurrent.futures`.

What a program written for `ProcessPoolExecutor` expects holds here too: futures, exceptions, `shutdown`, initializers.
On a grid of one's own functions and arguments are pickled, as there; on any other grid they travel as source and plain
data (see `Options.codec`). Differences: calls handed to the grid survive a restart of hub and agents, and a worker that
dies takes only its own call with it.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from crowdgrid.client import background, current
from crowdgrid.client.calling import Calling
from crowdgrid.client.codec import BrokenInitializer
from crowdgrid.client.futures import GridFuture
from crowdgrid.client.options import Options
from crowdgrid.errors import BadInput, CrowdgridError, TimedOut, Unavailable

if TYPE_CHECKING:
    from crowdgrid.client.grid import Grid
    from crowdgrid.client.mapping import Mapped

T = TypeVar("T")
log = logging.getLogger("concurrent.futures")  # where pools say it


class Executor(concurrent.futures.Executor):
    """See the module. Use it in a `with` block, or call `shutdown`.

    Args:
        grid: where; None: the grid opened last, and without one a grid of this machine (see `current.grid`).
        max_workers: calls at once, of all functions together; None: as many as the grid can take.
        initializer, initargs: called once in every worker before its first call of this executor.
        options: as of `function`: timeout, memory, priority, codec, …

    Raises:
        ValueError: `max_workers` is not positive.
        TypeError: `initializer` cannot be called.
    """

    def __init__(
        self,
        grid: Grid | None = None,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._grid = grid or current.grid()
        self._options = Options().change(options)
        if self._options.codec == "auto" and self._grid.connection.trust.possible:
            self._options = self._options.change({"codec": "pickle"})  # what pools of processes do
        self._bounded = max_workers is not None
        self._calling = Calling(
            self._grid.connection, initializer=initializer, initargs=initargs, at_once=max_workers or 0
        )
        self._grid.connection.executors.add(self._calling)
        self._lock = threading.Lock()
        self._waited_for: weakref.WeakSet[GridFuture[Any]] = weakref.WeakSet()
        self._maps: list[Mapped[Any]] = []  # those not taken to their end
        self._shut = False
        self._broken: BaseException | None = None  # what the initializer raised
        self._initializes = initializer is not None
        atexit.register(self._at_exit)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> GridFuture[T]:
        """See `concurrent.futures.Executor.submit`; arguments may be futures."""
        with self._lock:
            self._check_open()
            future: GridFuture[T] = self._calling.submit(fn, args, kwargs, self._options)
            self._waited_for.add(future)
        if self._initializes:
            future.add_done_callback(self._look_for_breakage)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """See `concurrent.futures.Executor.map`.

        It is one durable job, and input is read as it is needed instead of at once. With `max_workers` its calls are
        single ones among the executor's others, which are bounded together; then input is read at once, as by pools.

        Args:
            timeout: seconds from now in which all results must be taken.
            chunksize: calls in one task; 1 lets the grid choose, or with `max_workers` is 1.
            buffersize: as in Python 3.14, with `max_workers`: tasks whose results wait to be taken, for input without
                end; without `max_workers` the window is bounded already.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if not iterables:
            raise BadInput("map needs something to iterate over.")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        give_up_at = None if timeout is None else time.monotonic() + timeout
        if self._bounded:
            return self._map_bounded(fn, zip(*iterables), give_up_at, chunksize, buffersize)
        options = self._options.change({"piece": chunksize if chunksize > 1 else 0})
        with self._lock:
            self._check_open()
            mapped = self._calling.map(fn, zip(*iterables), options, progress=False)
            self._maps.append(mapped)
        return _within(mapped, give_up_at, self._maps)

    def _map_bounded(
        self,
        fn: Callable[..., T],
        calls: Iterator[tuple[Any, ...]],
        give_up_at: float | None,
        chunksize: int,
        buffersize: int | None,
    ) -> Iterator[T]:
        if chunksize == 1:
            made: Iterator[GridFuture[Any]] = (self.submit(fn, *args) for args in calls)
        else:
            whole = _chunk_of(fn)
            made = (self.submit(whole, chunk) for chunk in iter(lambda: list(islice(calls, chunksize)), []))
        results = _in_order(deque(islice(made, buffersize)), made, give_up_at)
        return results if chunksize == 1 else chain.from_iterable(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor.shutdown`."""
        with self._lock:
            self._shut = True
            waited_for, maps = list(self._waited_for), list(self._maps)
        if cancel_futures:
            for future in waited_for:
                future.cancel()
            for mapped in maps:
                mapped.close()
        if wait:
            self._end(waited_for, maps)
        else:
            threading.Thread(target=self._end, args=(waited_for, maps), daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was submitted. Ctrl-C ends that too, as it ends the processes of a pool."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._give_up()
        else:
            self.shutdown()

    def _give_up(self) -> None:
        with self._lock:
            self._shut = True
            waited_for, maps = list(self._waited_for), list(self._maps)
        for future in waited_for:
            future.cancel()
        for mapped in maps:
            mapped.close()
        self._closed(self._calling.abort(Unavailable("The executor was interrupted.")))

    def _end(self, waited_for: list[GridFuture[Any]], maps: list[Mapped[Any]]) -> None:
        concurrent.futures.wait(waited_for)
        for mapped in maps:
            mapped.finish()
        self._closed(self._calling.close(Unavailable("The executor was shut down.")))

    def _closed(self, closing: Coroutine[Any, Any, None]) -> None:
        atexit.unregister(self._at_exit)
        self._grid.connection.executors.discard(self._calling)
        background.run(closing)

    def _at_exit(self) -> None:
        """The program ends: what was submitted is computed first, unless Ctrl-C ended it, as by pools of processes."""
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
        with suppress(CrowdgridError):
            self._give_up() if interrupted else self.shutdown()

    def _look_for_breakage(self, future: concurrent.futures.Future[Any]) -> None:
        if self._broken is None and not future.cancelled():
            error = future.exception()
            if isinstance(error, concurrent.futures.BrokenExecutor):
                # Said first: who finds the executor broken may go and read the log.
                log.critical("Exception in initializer:", exc_info=error)
                self._broken = error

    def _check_open(self) -> None:
        if self._broken is not None:
            raise BrokenInitializer(str(self._broken))
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")


def _within(mapped: Mapped[T], give_up_at: float | None, kept: list[Mapped[T]]) -> Iterator[T]:
    """As in the standard library: a map nobody begins to take is computed all the same, one begun and left is not."""
    try:
        while True:
            yield mapped.next(None if give_up_at is None else max(0.0, give_up_at - time.monotonic()))
    except StopIteration:
        return
    except TimedOut as error:
        raise TimeoutError(error.message) from None
    finally:
        mapped.close()
        with suppress(ValueError):
            kept.remove(mapped)


def _chunk_of(fn: Callable[..., T]) -> Callable[[list[Any]], list[T]]:
    def chunk(calls: list[Any]) -> list[Any]:
        return [fn(*args) for args in calls]

    return chunk


def _in_order(
    waiting: deque[GridFuture[Any]], more: Iterator[GridFuture[Any]], give_up_at: float | None
) -> Iterator[Any]:
    """The results of `waiting`, each replaced by one of `more`; who stops taking them cancels what has not begun."""
    try:
        while waiting:
            waiting[0].result(None if give_up_at is None else max(0.0, give_up_at - time.monotonic()))
            waiting.extend(islice(more, 1))
            yield waiting.popleft().result()  # nothing here keeps it alive
    finally:
        for future in waiting:
            future.cancel()
