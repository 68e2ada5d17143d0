"""The Python face on a real hub with a real agent: what comes back is right, and what goes wrong is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import wasmtime

import crowdgrid as cg
from crowdgrid import errors, limits
from crowdgrid.cli.demo.search import blocks
from crowdgrid.client.children import ChildDied

ECHO = cg.kernels.path("echo")
PRIMES = cg.kernels.path("primes")
SECONDS = 60

# Prints what it reads; exits with 3 when that begins with an exclamation mark.
PICKY = bytes(
    wasmtime.wat2wasm(r"""
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1024))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 33)) (then (call $exit (i32.const 3))))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))
""")
)


@pytest.fixture(scope="module")
def grid() -> Iterator[cg.Grid]:
    with cg.local(agents=1, cpus=2) as started:
        yield started


# --- answers -------------------------------------------------------------------------------------


def test_a_range_is_counted_exactly(grid: cg.Grid) -> None:
    job = grid.run(PRIMES, split=cg.Range(0, 10**7), reduce="sum")
    assert job.result(SECONDS) == 664_579
    assert job.counts.units_done == 10**7


def test_items_come_back_in_their_order(grid: cg.Grid) -> None:
    """More than one message holds, from an iterator that is read once."""
    items = [f"item {n}" for n in range(2_500)]
    assert grid.run(ECHO, items=iter(items)).result(SECONDS) == [item.encode() for item in items]


def test_lines_of_a_file_are_all_there(grid: cg.Grid, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    text = "".join(f"line {n}\n" for n in range(5_000))
    file.write_text(text)
    assert grid.run(ECHO, lines=file, reduce="concatenate").result(SECONDS) == text.encode()


def test_a_parameter_grid_runs_every_combination(grid: cg.Grid) -> None:
    job = grid.run(ECHO, args=["x"], split=cg.ParameterGrid(rate=[1, 2], depth=["a", "b"]))
    assert [row.text for row in job.results(timeout=SECONDS)] == [
        f"x --rate {rate} --depth {depth}" for rate in (1, 2) for depth in "ab"
    ]


def test_large_items_and_results_travel_as_blobs(grid: cg.Grid) -> None:
    """A message holds 64 kB; what is larger must come back byte for byte all the same."""
    items = [bytes([n]) * (limits.INLINE_BYTES * 3) for n in range(5)]
    assert grid.run(ECHO, items=items).result(SECONDS) == items


def test_no_hit_is_none(grid: cg.Grid) -> None:
    block = blocks()[0]
    job = grid.run(cg.kernels.path("nonces"), args=[block.header], split=cg.Range(0, 1000), reduce="first")
    assert job.result(SECONDS) is None


def test_results_stream_while_the_input_is_still_read(grid: cg.Grid) -> None:
    """The first answers are there before the source ends: nothing is gathered first."""
    more = threading.Event()

    def source() -> Iterator[str]:
        yield "first"
        assert more.wait(SECONDS)
        yield "second"

    job = grid.run(ECHO, items=source())
    rows = job.results(timeout=SECONDS)
    assert next(rows).data == b"first"
    more.set()
    assert [row.data for row in rows] == [b"second"]


def test_a_job_is_found_again_by_name_and_by_id(grid: cg.Grid) -> None:
    job = grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum", name="found again")
    assert job.result(SECONDS) == 168
    for called in ("found again", job.id):
        assert grid.job(called).result(SECONDS) == 168


def test_the_same_key_is_the_same_job(grid: cg.Grid) -> None:
    first = grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum", key="once")
    assert grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum", key="once").id == first.id


def test_progress_is_told(grid: cg.Grid) -> None:
    seen: list[int] = []
    grid.run(PRIMES, split=cg.Range(0, 10**6), reduce="sum").result(
        SECONDS, progress=lambda c: seen.append(c.units_done)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 10**6


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_bad_item_fails_itself_and_is_named(grid: cg.Grid) -> None:
    job = grid.run(PICKY, items=["a", "!", "b"])
    rows = list(job.results(timeout=SECONDS))
    assert [(row.ok, row.data) for row in rows] == [(True, b"a"), (False, b""), (True, b"b")]
    assert "3" in rows[1].error
    with pytest.raises(errors.JobFailed, match=r"1 of 3 units failed.\n  unit 1 "):
        job.result(SECONDS)
    assert [error["unit"] for error in job.errors()] == [1]


def test_what_succeeded_can_be_had_without_what_failed(grid: cg.Grid) -> None:
    job = grid.run(PICKY, items=["a", "!", "b"], reduce="concatenate")
    assert job.result(SECONDS, partial=True) == b"ab"


def test_too_many_errors_stop_the_job_with_the_first_ones(grid: cg.Grid) -> None:
    job = grid.run(PICKY, items=["!"] * 500, max_errors=5)
    with pytest.raises(errors.JobFailed, match=r"unit \d+ on node did:key:"):
        job.result(SECONDS)
    assert job.state == "failed"


def test_an_iterator_that_raises_cancels_the_job_and_surfaces(grid: cg.Grid) -> None:
    """Half an input must not be taken for all of it."""

    def source() -> Iterator[str]:
        yield "a"
        raise KeyError("the third page")

    job = grid.run(ECHO, items=source())
    with pytest.raises(errors.JobFailed, match="the third page") as caught:
        job.result(SECONDS)
    assert isinstance(caught.value.__cause__, KeyError)
    assert job.wait(SECONDS) == "cancelled"


def test_an_empty_input_is_an_answer_of_nothing(grid: cg.Grid) -> None:
    assert grid.run(ECHO, items=[]).result(SECONDS) == []


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"program": b"no wasm", "items": ["a"]}, errors.BadProgram, "not WebAssembly"),
        ({"program": "/nowhere/x.wasm", "items": ["a"]}, errors.BadProgram, "no such file"),
        ({"program": PRIMES, "split": cg.Range(5, 5)}, errors.BadInput, "empty"),
        ({"program": PRIMES, "split": cg.Range(5, 1)}, errors.BadInput, "before it starts"),
        ({"program": PRIMES}, errors.BadInput, "exactly one input"),
        ({"program": PRIMES, "split": cg.Range(0, 5), "reduce": "magic"}, errors.BadInput, "magic"),
        ({"program": PRIMES, "split": cg.Range(0, 5), "memory": "lots"}, errors.BadInput, "no size"),
        ({"program": PRIMES, "lines": "/nowhere/lines"}, errors.BadInput, "no such file"),
        ({"program": PRIMES, "split": cg.Range(0, 5), "priority": 1000}, errors.BadInput, "priority"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    grid: cg.Grid, given: dict[str, object], error: type[errors.CrowdgridError], says: str
) -> None:
    with pytest.raises(error, match=says):
        grid.run(**given)  # type: ignore[arg-type]


def test_a_name_used_twice_says_so(grid: cg.Grid) -> None:
    grid.run(PRIMES, split=cg.Range(0, 10), reduce="sum", name="twice")
    with pytest.raises(errors.Conflict, match="'twice'"):
        grid.run(PRIMES, split=cg.Range(0, 10), reduce="sum", name="twice")


def test_a_request_no_frame_can_hold_is_refused_not_lost(grid: cg.Grid) -> None:
    with pytest.raises(errors.TooLarge):
        grid.run(ECHO, args=["x" * limits.ARG_BYTES] * 200, items=["a"])


def test_cancelling_ends_waiting(grid: cg.Grid) -> None:
    job = grid.run(PRIMES, split=cg.Range(0, 10**14), reduce="sum")
    job.cancel("No longer wanted.")
    with pytest.raises(errors.JobFailed, match="No longer wanted"):
        job.result(SECONDS)


def _until(true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_a_paused_job_starts_nothing_and_goes_on_when_resumed(grid: cg.Grid) -> None:
    job = grid.run(PRIMES, split=cg.Range(0, 10**13, piece=10**7), reduce="sum", priority=-1)
    job.pause()
    _until(lambda: job.counts.in_progress == 0 and job.state == "paused")
    done = job.counts.units_done
    with pytest.raises(errors.TimedOut, match="units are done") as caught:
        job.result(0.7)  # longer than counters take to be told
    assert "goes on" in caught.value.hint
    assert job.counts.units_done == done
    job.resume()
    _until(lambda: job.counts.units_done > done)
    job.cancel()


def test_why_a_job_waits_is_told(grid: cg.Grid) -> None:
    job = grid.run(PRIMES, split=cg.Range(0, 10), reduce="sum", labels=["quantum"])
    assert any("quantum" in str(reason) for reason in (job.why()["reasons"], job.why()["rejected"]))
    job.cancel()


def test_a_job_that_is_not_there_is_not_found(grid: cg.Grid) -> None:
    with pytest.raises(errors.NotFound, match="no job"):
        grid.job("never")


def test_two_readers_of_one_job_are_told_apart(grid: cg.Grid) -> None:
    """Each would get half of the rows."""
    job = grid.run(PRIMES, split=cg.Range(0, 1000))
    rows = job.results(timeout=SECONDS)
    next(rows)
    with pytest.raises(errors.Conflict):
        next(job.results())


# --- hubs that come and go -----------------------------------------------------------------------


def test_a_wrong_token_and_a_closed_way_are_told_apart(grid: cg.Grid) -> None:
    with pytest.raises(errors.NotSignedIn):
        cg.connect(grid.url, "cg_wrong")
    with pytest.raises(errors.Unavailable, match="nothing listens there"):
        cg.connect("http://127.0.0.1:1")


def test_a_hub_killed_under_a_waiting_result_costs_time_only(tmp_path: Path) -> None:
    """kill -9 while items are appended and results come: every answer is there once, in order."""
    from crowdgrid.cli.demo.processes import Crowd

    with Crowd(tmp_path) as crowd:
        items = [str(n) for n in range(3_000)]
        job = crowd.grid.run(ECHO, items=iter(items))
        rows = job.results(timeout=SECONDS)
        found = [next(rows).text for _ in range(100)]
        crowd.kill_hub()
        found += [row.text for row in rows]
        assert found == items


def test_a_hub_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file where the folder should be")
    with cg.local(agents=0, path=tmp_path) as grid, pytest.raises(ChildDied, match="hub of this local grid ended"):
        grid.run(PRIMES, split=cg.Range(0, 10))


def test_a_local_grid_with_a_path_keeps_its_jobs(tmp_path: Path) -> None:
    with cg.local(path=tmp_path) as grid:
        grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum", name="kept").result(SECONDS)
    with cg.local(path=tmp_path, agents=0) as grid:
        assert grid.job("kept").result(SECONDS) == 168


def _children(of: int) -> list[psutil.Process]:
    return psutil.Process(of).children(recursive=True)


def _until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=20)[1]


def test_closing_ends_every_process_and_leaves_no_folder() -> None:
    before = {child.pid for child in _children(os.getpid())}
    grid = cg.local(agents=2, cpus=1)
    assert grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum").result(SECONDS) == 168
    started = [child for child in _children(os.getpid()) if child.pid not in before]
    assert len(started) >= 3
    folder = Path(next(arg for child in started for arg in child.cmdline() if arg.endswith("/hub"))).parent
    grid.close()
    assert _until_gone(started) == []
    assert not folder.exists()
    with pytest.raises(errors.Unavailable, match="closed"):
        grid.job("any")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_parent_however_it_ends(how: signal.Signals) -> None:
    """A notebook that crashes must not leave a hub behind."""
    code = """
        import crowdgrid as cg
        grid = cg.local()
        grid.run(cg.kernels.path("primes"), split=cg.Range(0, 1000)).result(60)
        print("ready", flush=True)
        input()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        started = _children(parent.pid)
        assert len(started) >= 2
        parent.send_signal(how)
        parent.communicate()
    assert _until_gone(started) == []


def test_ctrl_c_leaves_a_waiting_result_and_the_grid_usable(grid: cg.Grid) -> None:
    """KeyboardInterrupt in the main thread must not end the loop everybody else is on."""
    job = grid.run(PRIMES, split=cg.Range(0, 10**14), reduce="sum", priority=-100)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        job.result(SECONDS)
    assert time.monotonic() - began < SECONDS
    job.cancel()
    assert grid.run(PRIMES, split=cg.Range(0, 1000), reduce="sum").result(SECONDS) == 168
