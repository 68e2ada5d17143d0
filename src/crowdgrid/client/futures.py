"""The future of one call: a `concurrent.futures.Future`, also awaitable."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Final, TypeVar

from crowdgrid.client import background
from crowdgrid.errors import CrowdgridError

T = TypeVar("T")
_CONTAINERS = (list, tuple, dict)
_TELLING: Final = threading.Lock()


class GridFuture(Future[T]):
    """What a call will come to. Works with everything that takes a future of `concurrent.futures`; in a coroutine
    it can be awaited; as an argument of another call it stands for its result.

    It can be cancelled until it is handed to the grid; after that `running()` is true.
    """

    _told_cancelled = False

    def set_running_or_notify_cancel(self) -> bool:
        """See `concurrent.futures.Future.set_running_or_notify_cancel`; a cancelled one may be told so twice."""
        with _TELLING:
            if self._told_cancelled:
                return False
            running = super().set_running_or_notify_cancel()
            self._told_cancelled = not running
            return running

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(_awaitable(self)).__await__()

    def result(self, timeout: float | None = None) -> T:
        """See `concurrent.futures.Future.result`."""
        self._check_thread()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future.exception`."""
        self._check_thread()
        return super().exception(timeout)

    def _check_thread(self) -> None:
        if threading.current_thread().name == background.THREAD and not self.done():
            raise CrowdgridError("This would wait for itself: callbacks of futures must not wait for other ones.")


def _awaitable(future: Future[T]) -> Future[T]:
    """The future as asyncio can wait for it: one that fails with StopIteration it leaves waiting, for ever."""
    told: Future[T] = Future()

    def tell(done: Future[T]) -> None:
        if done.cancelled():
            told.cancel()
        elif (error := done.exception(0)) is None:
            settle(told, value=done.result(0))
        elif isinstance(error, StopIteration):
            unlike = RuntimeError("The call raised StopIteration.")  # as coroutines and generators say it
            unlike.__cause__ = error
            settle(told, error=unlike)
        else:
            settle(told, error=error)

    future.add_done_callback(tell)
    told.add_done_callback(lambda told: told.cancelled() and future.cancel())
    return told


def settle(future: Future[Any], *, value: Any = None, error: BaseException | None = None) -> None:
    """Give a future its outcome, unless it was cancelled; then `wait` and `as_completed` hear of that."""
    if future.cancelled():
        future.set_running_or_notify_cancel()
        return
    if future.done():
        return
    try:
        future.set_result(value) if error is None else future.set_exception(error)
    except InvalidStateError:  # it was cancelled meanwhile
        future.set_running_or_notify_cancel()


# --- futures as arguments --------------------------------------------------------------------


def futures_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Future[Any]]:
    """The futures among the arguments, or one level deep in a list, tuple or dict among them."""
    found: list[Future[Any]] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Future):
            found.append(value)
        elif type(value) in _CONTAINERS:
            inner: Iterable[Any] = value.values() if type(value) is dict else value
            found += [each for each in inner if isinstance(each, Future)]
    return found


def with_results(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with each future replaced by its result; all of them are done. Raises what one of them raised."""
    return tuple(_result(value) for value in args), {name: _result(value) for name, value in kwargs.items()}


def _result(value: Any) -> Any:
    if isinstance(value, Future):
        return value.result(0)
    if type(value) is list:
        return [_result(each) if isinstance(each, Future) else each for each in value]
    if type(value) is tuple:
        return tuple(_result(each) if isinstance(each, Future) else each for each in value)
    if type(value) is dict:
        return {key: _result(each) if isinstance(each, Future) else each for key, each in value.items()}
    return value


def when_done(futures: list[Future[Any]], then: Callable[[], None]) -> None:
    """Call `then` once, when the last of them is done, on whichever thread that happens.

    What `then` brings about of that kind follows it instead of running inside of it: a chain may be of any length.
    """
    lock, left = threading.Lock(), len(futures)

    def one(_: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = not left
        if last:
            _in_turn(then)

    for future in futures:
        future.add_done_callback(one)


_turns = threading.local()


def _in_turn(call: Callable[[], None]) -> None:
    waiting: deque[Callable[[], None]] | None = getattr(_turns, "waiting", None)
    if waiting is not None:
        waiting.append(call)
        return
    waiting = _turns.waiting = deque((call,))
    try:
        while waiting:
            waiting.popleft()()
    finally:
        _turns.waiting = None
        for left in waiting:  # Ctrl-C in one of them is none of the others' affair
            background.loop().call_soon_threadsafe(left)


def fail_with(future: Future[Any], given: list[Future[Any]]) -> bool:
    """Whether one of the futures it was given failed or was cancelled; `future` then has that for its outcome."""
    for each in given:
        if each.cancelled():
            settle(future, error=CancelledError("A call whose result this one needs was cancelled."))
            return True
        if (error := each.exception(0)) is not None:
            settle(future, error=error)
            return True
    return False
