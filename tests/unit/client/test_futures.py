"""Futures of calls: awaited, used as arguments, cancelled."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import CancelledError, Future, as_completed, wait
from functools import partial
from typing import Any

import pytest

from crowdgrid.client.futures import GridFuture, fail_with, futures_in, settle, when_done, with_results


def done(value: Any) -> Future[Any]:
    future: Future[Any] = GridFuture()
    future.set_result(value)
    return future


def follow(after: Future[Any], before: Future[Any]) -> None:
    assert fail_with(after, [before])


def test_futures_are_found_among_arguments_and_one_level_deep() -> None:
    a, b, c, d = (done(x) for x in range(4))
    assert futures_in((1, a, [b, 2], {"k": c}), {"x": d, "y": [[a]]}) == [a, b, c, d]
    assert futures_in((1, "two", [3]), {}) == []


def test_each_is_replaced_by_its_result() -> None:
    args, kwargs = with_results((1, done("a"), (done("b"), 2)), {"k": {"x": done("c")}, "y": [1]})
    assert args == (1, "a", ("b", 2))
    assert kwargs == {"k": {"x": "c"}, "y": [1]}


def test_something_happens_once_when_the_last_one_is_done() -> None:
    futures: list[Future[Any]] = [GridFuture() for _ in range(3)]
    told: list[int] = []
    when_done(futures, lambda: told.append(1))
    for future in futures[:2]:
        future.set_result(None)
    assert not told
    futures[2].set_exception(ValueError())
    assert told == [1]


def test_a_failed_or_cancelled_argument_is_what_the_call_comes_to() -> None:
    failed: Future[Any] = GridFuture()
    failed.set_exception(ValueError("no"))
    call: Future[Any] = GridFuture()
    assert fail_with(call, [done(1), failed])
    with pytest.raises(ValueError, match="no"):
        call.result(0)
    cancelled: Future[Any] = GridFuture()
    cancelled.cancel()
    call = GridFuture()
    assert fail_with(call, [cancelled])
    with pytest.raises(CancelledError):
        call.result(0)
    assert not fail_with(GridFuture(), [done(1)])


def test_an_outcome_that_comes_too_late_is_nobodys_error() -> None:
    future: Future[Any] = GridFuture()
    future.cancel()
    settle(future, value=1)
    assert future.cancelled()
    settle(done(1), error=ValueError())


def test_it_can_be_awaited() -> None:
    async def wait() -> Any:
        future: GridFuture[int] = GridFuture()
        asyncio.get_running_loop().call_soon(future.set_result, 7)
        return await future

    assert asyncio.run(wait()) == 7


def test_who_awaits_a_call_that_raised_stop_iteration_is_told() -> None:
    """asyncio itself would never say so."""
    future: GridFuture[Any] = GridFuture()

    async def wait() -> Any:
        asyncio.get_running_loop().call_soon(future.set_exception, StopIteration(5))
        return await future

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        asyncio.run(wait())
    assert isinstance(caught.value.__cause__, StopIteration)


def test_what_is_awaited_is_cancelled_with_who_awaits_it() -> None:
    future: GridFuture[Any] = GridFuture()

    async def wait() -> None:
        task = asyncio.ensure_future(asyncio.wait_for(future, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(wait())
    assert future.cancelled()

    async def see() -> None:
        with pytest.raises(asyncio.CancelledError):
            await future

    asyncio.run(see())


def test_whoever_waits_for_a_cancelled_call_hears_of_it_when_it_is_settled() -> None:
    waited: Future[Any] = GridFuture()
    assert waited.cancel()
    settle(waited, value=1)  # as what becomes of the grid is told to all
    assert waited.cancelled()
    assert not waited.set_running_or_notify_cancel()  # and by who comes upon it in a queue
    assert wait([waited], timeout=5).done == {waited}
    assert list(as_completed([waited], timeout=5)) == [waited]


def test_one_that_runs_is_not_cancelled() -> None:
    future: Future[Any] = GridFuture()
    assert future.set_running_or_notify_cancel()
    assert not future.cancel()
    settle(future, value=1)
    assert future.result(0) == 1


def test_a_failure_passes_through_a_chain_of_any_length() -> None:
    length = 5_000
    chain: list[Future[Any]] = [GridFuture() for _ in range(length)]
    for before, after in itertools.pairwise(chain):
        when_done([before], partial(follow, after, before))
    chain[0].set_exception(ValueError("the first"))
    for future in chain:
        with pytest.raises(ValueError, match="the first"):
            future.result(0)


def test_so_does_a_cancellation() -> None:
    chain: list[Future[Any]] = [GridFuture() for _ in range(5_000)]
    for before, after in itertools.pairwise(chain):
        when_done([before], partial(follow, after, before))
    assert chain[0].cancel()
    assert isinstance(chain[-1].exception(0), CancelledError)


def test_what_interrupts_one_step_of_a_chain_leaves_the_others_to_the_loop() -> None:
    first: Future[Any] = GridFuture()
    came = threading.Event()
    then: list[Future[Any]] = [GridFuture(), GridFuture()]

    def branch() -> None:
        when_done([then[0]], lambda: interrupt())
        when_done([then[1]], came.set)
        settle(then[0])
        settle(then[1])

    def interrupt() -> None:
        raise KeyboardInterrupt

    when_done([first], branch)
    with pytest.raises(KeyboardInterrupt):
        first.set_result(None)
    assert came.wait(5)
