"""Futures of calls: awaited, used as arguments, cancelled."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from crowdgrid.client.futures import GridFuture, fail_with, futures_in, settle, when_done, with_results


def done(value: Any) -> Future[Any]:
    future: Future[Any] = GridFuture()
    future.set_result(value)
    return future


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
