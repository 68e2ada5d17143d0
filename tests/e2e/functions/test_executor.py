"""`crowdgrid.Executor` does what programs written for `concurrent.futures` expect."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import crowdgrid as cg
from crowdgrid.errors import CannotTravel
from tests.e2e.functions.cpython_suite import FEWEST

HERE: Final = Path(__file__).parent
# Debian's libpython3.11-testsuite, which scripts/test installs; or a Python that was built with its tests.
PLACES: Final = (Path("/usr/lib/python3.11/test"), Path(sys.base_prefix, "lib", "python3.11", "test"))
SECONDS: Final = 60


def square(x: int) -> int:
    return x * x


def slow(x: int) -> int:
    time.sleep(0.1)
    return x


class Point:
    """An object that only a pickle carries."""

    def __init__(self, x: int) -> None:
        self.x = x

    def moved(self, by: int) -> Point:
        return Point(self.x + by)


def test_executors_and_futures_pass_cpythons_own_tests(tmp_path: Path) -> None:
    place = next((each for each in PLACES if (each / "test_concurrent_futures.py").is_file()), None)
    if place is None:
        lacking = "CPython's tests are missing: apt-get install libpython3.11-testsuite"
        assert not os.environ.get("CI"), lacking
        pytest.skip(lacking)
    (tmp_path / "test").symlink_to(place)
    command = [sys.executable, str(HERE / "cpython_suite.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failed"] == []
    assert told["skipped"] == []
    assert told["ran"] >= FEWEST


def test_objects_go_there_and_back_on_a_grid_of_ones_own(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor:
        assert executor.submit(Point(3).moved, 4).result(SECONDS).x == 7
        assert [point.x for point in executor.map(Point, range(50))] == list(range(50))


def test_a_chunksize_is_the_size_of_a_task(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor:
        assert list(executor.map(square, range(100), chunksize=25)) == [x * x for x in range(100)]
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(square, [1], chunksize=0)
    newest = grid.jobs(limit=10)
    assert any(job["counts"]["tasks"] == 4 and job["counts"]["units"] == 100 for job in newest)


def test_no_more_calls_run_at_once_than_workers_were_asked_for(grid: cg.Grid, tmp_path: Path) -> None:
    def alone(folder: str) -> int:
        import pathlib
        import time
        import uuid

        mine = pathlib.Path(folder, uuid.uuid4().hex)
        mine.touch()
        time.sleep(0.05)
        here = len(list(pathlib.Path(folder).iterdir()))
        mine.unlink()
        return here

    with cg.Executor(grid, max_workers=1) as executor:
        assert [f.result(SECONDS) for f in [executor.submit(alone, str(tmp_path)) for _ in range(8)]] == [1] * 8
        assert list(executor.map(alone, [str(tmp_path)] * 4)) == [1] * 4
        assert list(executor.map(alone, [str(tmp_path)] * 6, chunksize=2)) == [1] * 6


@pytest.mark.parametrize("codec", ["msgpack", "pickle"])
def test_all_functions_of_an_executor_together_are_bounded(grid: cg.Grid, tmp_path: Path, codec: str) -> None:
    """Two functions are two jobs when they travel as source; neither starves the other."""

    def here(folder: str) -> int:
        import pathlib
        import time
        import uuid

        mine = pathlib.Path(folder, uuid.uuid4().hex)
        mine.touch()
        time.sleep(0.03)
        count = len(list(pathlib.Path(folder).iterdir()))
        mine.unlink()
        return count

    def there(folder: str) -> int:
        return here(folder)

    with cg.Executor(grid, max_workers=1, codec=codec) as executor:
        first = [executor.submit(here, str(tmp_path)) for _ in range(20)]
        second = [executor.submit(there, str(tmp_path)) for _ in range(5)]
        mapped = executor.map(there, [str(tmp_path)] * 5)
        assert [f.result(SECONDS) for f in second] == [1] * 5
        if codec == "msgpack":  # with pickles all functions are one job, in the order in which they were submitted
            assert not all(future.done() for future in first)
        assert list(mapped) == [1] * 5
        assert [f.result(SECONDS) for f in first] == [1] * 20


@pytest.mark.parametrize(("codec", "chunksize"), [("msgpack", 1), ("msgpack", 3), ("pickle", 3)])
def test_a_bounded_map_reads_no_more_than_its_buffer(grid: cg.Grid, codec: str, chunksize: int) -> None:
    read = []

    def numbers() -> Iterator[int]:
        for x in itertools.count():
            read.append(x)
            yield x

    with cg.Executor(grid, max_workers=2, codec=codec) as executor:
        found = executor.map(lambda x: x + 1, numbers(), chunksize=chunksize, buffersize=4)
        assert list(itertools.islice(found, 10)) == list(range(1, 11))
        assert len(read) <= 10 + chunksize + 4 * chunksize
        found.close() if chunksize == 1 else None  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="buffersize"):
            executor.map(square, [1], buffersize=0)


def test_what_waits_is_cancelled_and_what_runs_is_finished(grid: cg.Grid) -> None:
    executor = cg.Executor(grid, max_workers=2)
    futures = [executor.submit(slow, x) for x in range(50)]
    futures[0].result(SECONDS)
    executor.shutdown(cancel_futures=True)
    assert sum(future.cancelled() for future in futures) > 20
    assert all(future.result(0) == x for x, future in enumerate(futures) if not future.cancelled())


def test_a_map_nobody_takes_is_computed_before_shutdown_returns(grid: cg.Grid, tmp_path: Path) -> None:
    def leave(name: int, folder: str) -> None:
        import pathlib

        pathlib.Path(folder, str(name)).touch()

    with cg.Executor(grid) as executor:
        executor.map(leave, range(20), [str(tmp_path)] * 20)
    assert len(list(tmp_path.iterdir())) == 20


def test_results_of_a_map_can_be_taken_after_shutdown(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor:
        found = executor.map(square, range(30))
    assert list(found) == [x * x for x in range(30)]


def test_a_map_that_takes_too_long_says_so(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor, pytest.raises(TimeoutError):
        list(executor.map(slow, range(100), timeout=0.3))


def test_as_completed_and_wait_work_with_them(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor:
        futures: dict[Any, int] = {executor.submit(square, x): x for x in range(20)}
        found = {futures[future]: future.result() for future in concurrent.futures.as_completed(futures, SECONDS)}
    assert found == {x: x * x for x in range(20)}


def test_what_cannot_be_pickled_is_refused_at_once(grid: cg.Grid) -> None:
    with cg.Executor(grid) as executor, pytest.raises(CannotTravel, match="pickle"):
        executor.submit(square, threading.Lock())


def test_an_initializer_runs_once_in_each_worker(grid: cg.Grid) -> None:
    def begin(value: int) -> None:
        os.environ["BEGUN"] = os.environ.get("BEGUN", "") + str(value)

    def begun(_: int) -> str:
        return os.environ["BEGUN"]

    with cg.Executor(grid, initializer=begin, initargs=(7,)) as executor:
        assert set(executor.map(begun, range(40))) == {"7"}
        assert {f.result(SECONDS) for f in [executor.submit(begun, x) for x in range(10)]} == {"7"}


BEGINNING: Final = """
import crowdgrid as cg

def begin(value):
    global FACTOR
    FACTOR = value

def times(x):
    return FACTOR * x

with cg.local() as grid:
    for bound in (None, 2):
        with cg.Executor(grid, max_workers=bound, initializer=begin, initargs=(7,)) as executor:
            print(executor.submit(times, 6).result(), *executor.map(times, range(3)))
"""


def test_what_an_initializer_sets_in_a_script_is_seen_by_its_functions(tmp_path: Path) -> None:
    """What initializers are for; the functions of a script are sent by value, each with globals of its own."""
    script = tmp_path / "beginning.py"
    script.write_text(BEGINNING)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stderr, done.stdout) == ("", "42 0 7 14\n" * 2)


EXITING: Final = """
import pathlib, sys, time
import crowdgrid as cg

def leave(path):
    time.sleep(0.5)
    pathlib.Path(path).touch()

cg.Executor().submit(leave, sys.argv[1])
"""


def test_the_end_of_a_program_waits_for_what_it_submitted(tmp_path: Path) -> None:
    """No grid is named: one of this machine is started, and gone when the program is."""
    script = tmp_path / "exiting.py"
    script.write_text(EXITING)
    environ: dict[str, Any] = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    environ["XDG_CONFIG_HOME"] = str(tmp_path)  # nobody is signed in
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "left")], env=environ, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "left").exists()


INTERRUPTED: Final = """
import threading
import crowdgrid as cg

def stay(x):
    if x:
        threading.Event().wait()

def wait(executor):
    executor.submit(stay, 0).result()
    begun = executor.map(stay, range(10))
    next(begun)
    mapped = executor.map(stay, range(10))
    first = executor.submit(stay, 1)
    futures = [first, executor.submit(stay, first), *(executor.submit(stay, 1) for _ in range(1000))]
    print("waiting", flush=True)
    futures[1].result()

"""
INSIDE: Final = "with cg.Executor(timeout=3600) as executor:\n    wait(executor)\n"
WITHOUT: Final = "wait(cg.Executor(timeout=3600))\n"


@pytest.mark.parametrize("ending", [INSIDE, WITHOUT])
def test_ctrl_c_ends_the_program_and_withdraws_its_calls(grid: cg.Grid, tmp_path: Path, ending: str) -> None:
    """As with a pool of processes, which Ctrl-C reaches too: nobody waits an hour for calls nobody wants."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED + ending)
    address = grid.connection.address
    environ = os.environ | {"CROWDGRID_URL": address.url, "CROWDGRID_TOKEN": address.token}
    known = {job["id"] for job in grid.jobs(limit=1000)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "waiting\n"
            program.send_signal(signal.SIGINT)
            _, told = program.communicate(timeout=SECONDS)
        finally:
            program.kill()
    assert program.returncode == -signal.SIGINT
    assert told.endswith("KeyboardInterrupt\n")
    assert {job["state"] for job in grid.jobs(limit=1000) if job["id"] not in known} <= {"cancelled"}
