"""Maps on a real grid: order, laziness, errors, durable jobs that others go on with."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crowdgrid as cg
from crowdgrid.errors import CannotTravel, Conflict, JobFailed

SECONDS = 60


@cg.function
def square(x: int) -> int:
    return x * x


@cg.function
def add(x: int, y: int) -> int:
    return x + y


@cg.function
def picky(x: int) -> int:
    if x % 10 == 7:
        raise KeyError(x)
    return x


def test_a_map_gives_the_results_in_the_order_of_the_input(grid: cg.Grid) -> None:
    assert list(square.map(range(5_000))) == [x * x for x in range(5_000)]


def test_an_empty_map_is_empty(grid: cg.Grid) -> None:
    assert list(square.map([])) == []


def test_an_unordered_map_gives_each_result_once(grid: cg.Grid) -> None:
    assert sorted(square.map(range(3_000), ordered=False)) == [x * x for x in range(3_000)]


def test_several_iterables_go_in_step_and_starmap_takes_tuples(grid: cg.Grid) -> None:
    assert list(add.map([1, 2, 3], [10, 20, 30, 40])) == [11, 22, 33]
    assert list(add.starmap([(1, 2), [3, 4]])) == [3, 7]


def test_input_without_end_is_read_only_as_far_as_it_is_needed(grid: cg.Grid) -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read = number
            yield number

    with square.map(endless()) as found:
        assert list(itertools.islice(found, 1_000)) == [x * x for x in range(1_000)]
    assert read < 500_000


def test_the_first_failed_call_ends_a_map_after_what_came_before_it(grid: cg.Grid) -> None:
    found = picky.map(range(100))
    assert list(itertools.islice(found, 7)) == list(range(7))
    with pytest.raises(KeyError) as caught:
        next(found)
    assert caught.value.args == (7,)
    assert any("call 7 " in note for note in caught.value.__notes__)


def test_exceptions_can_be_returned_instead(grid: cg.Grid) -> None:
    found: list[Any] = list(picky.map(range(20), return_exceptions=True))
    assert [type(value) for value in found if not isinstance(value, int)] == [KeyError, KeyError]
    assert [value for value in found if isinstance(value, int)] == [x for x in range(20) if x % 10 != 7]


def test_an_input_that_raises_half_way_raises_that_here(grid: cg.Grid) -> None:
    def broken() -> Iterator[int]:
        yield from range(50)
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        list(square.map(broken()))


def test_an_element_that_cannot_travel_names_its_place(grid: cg.Grid) -> None:
    with pytest.raises(CannotTravel) as caught:
        list(square.options(codec="msgpack").map([1, 2, object()]))
    assert any("element 2" in note for note in caught.value.__notes__)


def test_a_dropped_map_cancels_its_job(grid: cg.Grid) -> None:
    found = square.map(itertools.count())
    assert next(found) == 0
    job = grid.job(found.id)
    del found
    assert job.wait(SECONDS) == "cancelled"


def test_a_spawned_map_is_found_by_its_name_with_inputs(grid: cg.Grid) -> None:
    job = square.spawn_map(range(300), name="squares-1")
    again = grid.job("squares-1")
    assert sorted(again.as_completed(with_inputs=True)) == [(x, x * x) for x in range(300)]
    assert job.result(SECONDS) == [x * x for x in range(300)]
    assert job.counts.units_done == 300
    assert job.eta == 0
    with pytest.raises(Conflict, match="squares-1"):
        square.spawn_map([1], name="squares-1")


def test_a_piece_is_the_size_of_a_task_also_of_a_spawned_map(grid: cg.Grid) -> None:
    job = square.options(piece=7).spawn_map(range(70), name="in sevens")
    assert job.result(SECONDS) == [x * x for x in range(70)]
    assert max(task["stop"] - task["start"] for task in job.tasks()) <= 7


def test_failed_calls_of_a_job_are_listed_and_run_again(grid: cg.Grid, tmp_path: Path) -> None:
    gate = tmp_path / "open"

    @cg.function
    def gated(x: int, gate: str) -> int:
        import pathlib

        if x == 3 and not pathlib.Path(gate).exists():
            raise RuntimeError("still shut")
        return x

    job = gated.spawn_map(range(6), [str(gate)] * 6, name="gated")
    with pytest.raises(JobFailed, match="still shut") as caught:
        job.result(SECONDS)
    assert isinstance(caught.value.__cause__, RuntimeError)
    [error] = job.errors()
    assert error["unit"] == 3
    assert "in gated" in error["traceback"]
    assert job.result(SECONDS, partial=True) == [0, 1, 2, 4, 5]
    gate.touch()
    job.retry_failed()
    assert grid.job("gated").result(SECONDS) == list(range(6))


@cg.function
def wait_for(gate: str) -> bool:
    import pathlib
    import time

    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return True


def test_a_job_can_be_paused_resumed_and_asked_why(grid: cg.Grid, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    job = wait_for.options(piece=1).spawn_map([str(gate)] * 10, name="pausing")
    job.fed()
    job.pause()
    assert any("paused" in reason["text"] for reason in job.why()["reasons"])
    job.resume()  # before the gate opens: a node may hold all ten already, and then the job ends without it
    gate.touch()
    assert job.result(SECONDS) == [True] * 10


RESUMED = """
import os, sys
import crowdgrid as cg

@cg.function
def square(x):
    return x * x

def numbers(kill_at):
    for x in range(30_000):
        if x == kill_at:
            os.kill(os.getpid(), 9)
        yield x

with cg.connect() as grid:
    job = square.spawn_map(numbers(int(sys.argv[1])), name="resumed", key="resumed")
    print(sum(job.result(60)))
"""


def test_another_process_goes_on_with_a_map_whose_client_was_killed(grid: cg.Grid, tmp_path: Path) -> None:
    """The program is killed while its input is read; run again with the same key it goes on with the same job."""
    script = tmp_path / "squares.py"
    script.write_text(RESUMED)
    address = grid.connection.address
    environ = os.environ | {"CROWDGRID_URL": address.url, "CROWDGRID_TOKEN": address.token}

    def run(kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), str(kill_at)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)

    assert run(20_000).returncode == -9
    ended = run(-1)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == sum(x * x for x in range(30_000))


@pytest.mark.parametrize("count", [1, 5_001, 20_000])
def test_the_next_element_may_depend_on_every_result_so_far(grid: cg.Grid, count: int) -> None:
    taken = threading.Event()

    def source() -> Iterator[int]:
        yield from range(count)
        assert taken.wait(SECONDS), "what was read is withheld until more comes"
        yield count

    found = square.map(source())
    assert list(itertools.islice(found, count)) == [x * x for x in range(count)]
    taken.set()
    assert list(found) == [count * count]
