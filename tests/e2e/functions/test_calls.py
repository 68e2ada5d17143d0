"""Single calls of functions on a real grid: values, errors, futures, what cannot be sent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import threading
import time
from typing import Any

import pytest

import crowdgrid as cg
from crowdgrid.errors import BadInput, CannotTravel, RemoteError
from tests.e2e.grid import until

SECONDS = 60
FACTOR = 3


@cg.function
def square(x: int, bias: int = 0) -> int:
    return x * x + bias


@cg.function
def scaled(x: int) -> int:
    return FACTOR * helper(x)


def helper(x: int) -> int:
    return x + 1


@cg.function
def fails(x: int) -> int:
    raise ValueError(f"bad {x}")


class Trouble(Exception):
    """Travels with the function that raises it."""


@cg.function
def troubled() -> None:
    raise Trouble("mine", 7)


@cg.function
def pid() -> int:
    return os.getpid()


@cg.function(timeout=0.5)
def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


# --- values ------------------------------------------------------------------------------------


def test_a_decorated_function_is_still_a_plain_one() -> None:
    assert square(3) == 9
    assert square(3, bias=1) == 10


def test_a_call_runs_elsewhere_and_comes_back(grid: cg.Grid) -> None:
    assert square.remote(3, bias=1) == 10
    assert pid.remote() != os.getpid()


def test_what_a_function_refers_to_travels_with_it(grid: cg.Grid) -> None:
    assert scaled.remote(4) == 15


def test_a_name_bound_anew_is_seen_by_the_next_call(grid: cg.Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scaled.remote(4) == 15
    monkeypatch.setitem(globals(), "FACTOR", 10)
    assert scaled.remote(4) == 50


def test_values_come_back_as_the_type_they_were(grid: cg.Grid) -> None:
    @cg.function
    def same(x: Any) -> Any:
        return x

    for value in [(1, (2,)), {1: "a", (2, 3): b"c"}, {1, 2}, 2**100, 1 + 2j, None, [1.5, True], "é", b"\0"]:
        found = same.remote(value)
        assert found == value
        assert type(found) is type(value)


def test_futures_are_those_of_the_standard_library_and_can_be_awaited(grid: cg.Grid) -> None:
    futures = [square.submit(x) for x in range(50)]
    done, left = concurrent.futures.wait(futures, timeout=SECONDS)
    assert not left
    assert sorted(future.result() for future in done) == [x * x for x in range(50)]

    async def wait() -> list[int]:
        return list(await asyncio.gather(*[square.submit(x) for x in range(5)]))

    assert asyncio.run(wait()) == [0, 1, 4, 9, 16]


def test_a_future_as_an_argument_stands_for_its_result(grid: cg.Grid) -> None:
    @cg.function
    def total(values: list[int], more: int) -> int:
        return sum(values) + more

    parts: list[Any] = [square.submit(x) for x in range(4)]
    assert total.submit(parts, square.submit(10)).result(SECONDS) == 114


def test_a_failed_argument_is_what_the_call_fails_with(grid: cg.Grid) -> None:
    future = square.submit(fails.submit(5))
    with pytest.raises(ValueError, match="bad 5"):
        future.result(SECONDS)


def test_a_partial_and_a_lambda_are_functions_too(grid: cg.Grid) -> None:
    assert grid.submit(functools.partial(square, bias=5), 2).result(SECONDS) == 9
    assert grid.submit(lambda x: x + FACTOR, 2).result(SECONDS) == 5


def test_a_callback_may_submit_another_call(grid: cg.Grid) -> None:
    second: concurrent.futures.Future[int] = concurrent.futures.Future()

    def then(first: concurrent.futures.Future[int]) -> None:
        square.submit(first.result()).add_done_callback(lambda done: second.set_result(done.result()))

    square.submit(2).add_done_callback(then)
    assert second.result(SECONDS) == 16


def test_many_threads_may_call_at_once(grid: cg.Grid) -> None:
    found: dict[int, int] = {}
    threads = [threading.Thread(target=lambda x=x: found.update({x: square.remote(x)})) for x in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == {x: x * x for x in range(16)}


# --- errors ------------------------------------------------------------------------------------


def test_an_exception_comes_back_with_the_remote_traceback(grid: cg.Grid) -> None:
    with pytest.raises(ValueError, match="bad 4") as caught:
        fails.remote(4)
    assert "in fails" in str(caught.value.__cause__)
    assert "raise ValueError" in str(caught.value.__cause__)
    assert any("call" in note and "node" in note for note in caught.value.__notes__)


def test_an_exception_of_ones_own_comes_back_as_itself(grid: cg.Grid) -> None:
    with pytest.raises(Trouble) as caught:
        troubled.remote()
    assert caught.value.args == ("mine", 7)


def test_a_call_that_takes_too_long_is_stopped(grid: cg.Grid) -> None:
    with pytest.raises(RemoteError, match="longer than"):
        sleeps.remote(30)
    assert sleeps.remote(0) == 0


def test_a_call_that_ends_its_worker_fails_alone(grid: cg.Grid) -> None:
    @cg.function
    def leave(x: int) -> int:
        if x == 5:
            os._exit(3)
        return x

    futures = [leave.submit(x) for x in range(10)]
    with pytest.raises(RemoteError, match="ended its worker process") as caught:
        futures[5].result(SECONDS)
    assert caught.value.node.startswith("did:key:")
    assert caught.value.index is not None
    assert [future.result(SECONDS) for x, future in enumerate(futures) if x != 5] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_what_cannot_travel_is_refused_at_submit_with_its_name(grid: cg.Grid) -> None:
    lock = threading.Lock()

    @cg.function(codec="msgpack")
    def locked(x: int) -> int:
        with lock:
            return x

    with pytest.raises(CannotTravel, match="lock"):
        locked.submit(1)
    with pytest.raises(CannotTravel, match="lock"):
        square.options(codec="msgpack").submit(lock)


def test_a_result_that_cannot_travel_is_an_error_that_says_so(grid: cg.Grid) -> None:
    @cg.function(codec="msgpack")
    def opened() -> Any:
        import socket

        return socket.socket()

    with pytest.raises(CannotTravel, match="socket"):
        opened.remote()


def test_an_option_there_is_not_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(BadInput, match="timeot") as caught:
        cg.function(timeot=3)
    assert "timeout" in caught.value.hint


# --- cancelling --------------------------------------------------------------------------------


def test_ten_thousand_cancelled_futures_cost_the_grid_next_to_nothing(grid: cg.Grid) -> None:
    @cg.function
    def slow(x: int) -> int:
        import time

        time.sleep(0.05)
        return x

    futures = [slow.submit(x) for x in range(10_000)]
    cancelled = [future.cancel() for future in reversed(futures)]
    assert sum(cancelled) > 9_000
    done = concurrent.futures.wait(futures, timeout=SECONDS).done
    assert len(done) == 10_000
    assert square.remote(2) == 4  # and the grid goes on


def test_a_closed_grid_fails_what_waits_and_says_why() -> None:
    with cg.local(agents=0) as grid:
        future = square.options(grid=grid).submit(2)
    with pytest.raises(cg.CrowdgridError, match="closed"):
        future.result(SECONDS)


def test_a_call_nobody_may_run_says_why_instead_of_waiting_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    with cg.local(agents=0) as grid:
        future = square.options(grid=grid).submit(2)
        until(lambda: "Nothing has begun yet" in caplog.text, "it is said that nothing begins")
        assert "No connected node" in caplog.text
        assert "crowdgrid why" in caplog.text
        assert not future.done()


def test_calls_cancelled_while_they_wait_for_an_argument_let_nobody_wait(grid: cg.Grid) -> None:
    with cg.Executor(grid=grid) as pool:
        slow = pool.submit(time.sleep, 1.0)
        waiting = pool.submit(id, slow)
        assert waiting.cancel()
        assert waiting in concurrent.futures.wait([waiting], timeout=SECONDS).done


def test_a_failure_passes_through_a_long_chain_of_calls(grid: cg.Grid) -> None:
    @cg.function
    def step(x: int) -> int:
        if x == 0:
            raise ValueError("from the start")
        return x

    future = step.submit(0)
    for _ in range(1_000):
        future = step.submit(future)
    with pytest.raises(ValueError, match="from the start"):
        future.result(SECONDS)


def test_calls_cancelled_in_the_queue_let_nobody_wait_when_the_grid_is_closed() -> None:
    with cg.local(cpus=1):
        many = [square.submit(x) for x in range(30_000)]
        cancelled = [future for future in many if future.cancel()]
    assert not concurrent.futures.wait(many, timeout=SECONDS).not_done
    assert all(future.cancelled() for future in cancelled)
