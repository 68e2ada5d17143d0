"""Functions on a grid whose parts are killed, and functions that do their worst: exact answers, or clear errors."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

import crowdgrid as cg
from crowdgrid.errors import RemoteError
from tests.e2e.grid import Grid, until

SECONDS = 90
PYTHON: dict[str, Any] = {"runtimes": ("python", "python-pickle"), "options": ("--python", "own")}
GIB = 1 << 30


@cg.function
def square(x: int) -> int:
    return x * x


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cg.Grid]:
    """A grid for tests that kill nothing but workers."""
    with Grid(tmp_path_factory.mktemp("grid")) as grid:
        grid.start_hub()
        grid.start_agents(1, **PYTHON)
        with grid.connect() as connected:
            yield connected


# --- parts that are killed -----------------------------------------------------------------------


def test_a_map_goes_on_through_a_hub_and_an_agent_that_are_killed(tmp_path: Path) -> None:
    total = 60_000
    with Grid(tmp_path) as grid:
        grid.start_hub()
        first, _ = grid.start_agents(2, **PYTHON)
        with grid.connect() as connected:
            found = square.options(grid=connected).map(range(total))
            taken = [next(found) for _ in range(total // 10)]
            grid.hub.kill()
            grid.restart_hub()
            taken += [next(found) for _ in range(total // 10)]
            first.kill()
            taken += list(found)
        assert taken == [x * x for x in range(total)]


def test_futures_are_answered_by_the_hub_that_comes_after_the_one_that_was_killed(tmp_path: Path) -> None:
    with Grid(tmp_path) as grid:
        grid.start_hub()
        grid.start_agents(1, **PYTHON)
        with grid.connect() as connected:
            here = square.options(grid=connected)
            futures = [here.submit(x) for x in range(2_000)]
            until(lambda: any(future.done() for future in futures), "the first call is answered")
            grid.hub.kill()
            futures += [here.submit(x) for x in range(2_000, 2_200)]  # while there is no hub
            grid.restart_hub()
            assert not wait(futures, timeout=SECONDS).not_done
            assert [future.result() for future in futures] == [x * x for x in range(2_200)]


def test_a_worker_killed_from_outside_costs_a_retry_and_no_error(tmp_path: Path) -> None:
    gate = tmp_path / "open"

    def held(x: int, gate: str) -> int:
        import pathlib
        import time

        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return x

    with Grid(tmp_path) as grid:
        grid.start_hub()
        [agent] = grid.start_agents(1, **PYTHON)
        with grid.connect() as connected:
            future = connected.submit(held, 7, str(gate))
            [pid] = until(agent.workers, "the call has a worker")
            until(future.running, "the call is with the grid")
            os.kill(pid, signal.SIGKILL)
            until(lambda: [worker for worker in agent.workers() if worker != pid], "another worker is there")
            gate.touch()
            assert future.result(SECONDS) == 7


# --- functions that do their worst ---------------------------------------------------------------


def test_what_is_raised_and_cannot_be_sent_is_still_told(quiet: cg.Grid) -> None:
    def worst() -> None:
        class Held(Exception):
            def __init__(self) -> None:
                super().__init__("holds a lock")
                self.lock = threading.Lock()

            def __reduce__(self) -> str:
                raise TypeError("not me")

        raise Held

    with pytest.raises(RemoteError, match="holds a lock"):
        quiet.submit(worst).result(SECONDS)
    assert square.options(grid=quiet).remote(3) == 9


def test_a_result_of_a_gibibyte_is_refused_with_advice(quiet: cg.Grid) -> None:
    def heavy(size: int) -> bytes:
        return bytes(size)

    asked = quiet.function(heavy, memory="5GB", timeout=120, output="256MiB")
    with pytest.raises(RemoteError, match=r"1,073,741,8\d\d bytes") as caught:
        asked.remote(GIB)
    assert "output=" in str(caught.value)
    assert len(asked.remote(100_000)) == 100_000


def test_recursion_without_end_a_flood_of_output_and_a_fork_fail_alone(quiet: cg.Grid) -> None:
    def endless(x: int) -> int:
        return endless(x + 1)

    def loud(size: int) -> int:
        for _ in range(size // 1_000_000):
            print("x" * 1_000_000)
        return size

    def forks() -> int:
        import os

        if os.fork() == 0:
            return -1  # the child's answer is nobody's
        return os.getpid()

    with pytest.raises(RecursionError):
        quiet.submit(endless, 0).result(SECONDS)
    assert quiet.submit(loud, GIB).result(SECONDS) == GIB
    assert quiet.submit(forks).result(SECONDS) > 0
    futures = [quiet.submit(forks) for _ in range(10)]
    assert all(future.result(SECONDS) > 0 for future in futures)


def test_what_calls_print_and_raise_is_found_in_the_logs(quiet: cg.Grid) -> None:
    def talks(x: int) -> int:
        print(f"looking at {x}")
        if x == 2:
            raise LookupError(f"nothing at {x}")
        return x

    job = quiet.function(talks, piece=1).spawn_map(range(4), name="talking")
    assert job.wait(SECONDS) == "final"
    logs = job.logs()
    assert {entry["text"].strip() for entry in logs} >= {"looking at 0", "looking at 1", "looking at 3"}
    [error] = job.errors()
    assert (error["unit"], error["type"]) == (2, "LookupError")
    assert "in talks" in error["traceback"]
