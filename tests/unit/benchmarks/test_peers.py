"""The side by side measures what it says: loads are counted, results looked at, faults and goals told the right way."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.context import Context
from benchmarks.peers import cells, faults, work
from benchmarks.peers.adapters import loads
from benchmarks.peers.adapters.apart import Parts, answers, free_port, wait_until
from benchmarks.peers.adapters.burst import Burst
from benchmarks.peers.adapters.peer import Handle, Peer, Work, chunked, chunked_array, chunks, until_quiet
from benchmarks.peers.adapters.session import Session
from benchmarks.peers.catalogue import KINDS
from benchmarks.peers.talk import Adapter, PeerFailed, Place
from benchmarks.processes import ROOT

PROCESS_POOL = next(kind for kind in KINDS if kind.name == "process_pool")


class Threads(Peer):
    """A peer of this process, for what is not about processes."""

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(2)

    def close(self) -> None:
        self._pool.shutdown()

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._pool.submit(function, argument)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        for results in self._pool.map(lambda numbers: chunked(function, numbers), chunks(count, chunk)):
            yield from results


class Forgetful(Threads):
    """One that loses the last result of a map, and answers tasks with the wrong number."""

    def submit(self, function: Work, argument: Any) -> Handle:
        return super().submit(function, argument + 1)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        return list(super().map(function, count, chunk))[:-1]


class Marks:
    """The marks of a measurement, kept."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, *, waits: bool = False) -> None:
        del waits
        self.names.append(name)


@pytest.fixture
def threads(tmp_path: Path) -> Iterable[Threads]:
    peer = Threads(tmp_path, tmp_path)
    peer.start()
    yield peer
    peer.close()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterable[Forgetful]:
    peer = Forgetful(tmp_path, tmp_path)
    peer.start()
    yield peer
    peer.close()


# --- the loads -------------------------------------------------------------------------------------


def test_one_by_one_counts_what_came_between_its_marks(threads: Threads) -> None:
    marks = Marks()
    found = loads.one_by_one(threads, loads.Load("trivial", 0, 10, 0.0, 0.01), marks)
    assert marks.names == ["begin", "end"]
    assert found["tasks"] >= 2
    assert found["tasks"] % 2 == 0  # whole parts of a fifth
    assert found["elapsed"] > 0


@pytest.mark.parametrize("function", ["trivial", "busy_1ms"])
def test_a_map_is_summed_up(threads: Threads, function: str) -> None:
    assert loads.mapped(threads, function, 25, 10, Marks())["tasks"] == 25


def test_bytes_are_as_long_as_they_are_meant_and_differ(threads: Threads) -> None:
    assert loads.one_by_one(threads, loads.Load("length", 1000, 5, 0.0, 0.0), Marks())["tasks"] >= 1
    assert len(work.argument(7, 1_000_000)) == 1_000_000
    assert work.argument(7, 1_000) != work.argument(8, 1_000)


def test_wrong_and_lost_results_have_no_rate(forgetful: Forgetful) -> None:
    """Otherwise the fastest peer would be the one that forgets."""
    with pytest.raises(loads.WrongResult, match="trivial of task 0 gave 2"):
        loads.one_by_one(forgetful, loads.Load("trivial", 0, 5, 0.0, 0.0), Marks())
    with pytest.raises(loads.WrongResult, match="over 10 gave 9 results"):
        loads.mapped(forgetful, "trivial", 10, 5, Marks())
    with pytest.raises(loads.WrongResult):
        loads.trips(forgetful, 0.0, 0.01)


def test_chunks_cover_everything_once() -> None:
    assert [list(each) for each in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(chunked_array(work.trivial, range(3))) == chunked(work.trivial, range(3)) == [1, 2, 3]


def test_looking_for_results_ends_when_no_more_come() -> None:
    arriving = iter([1, 2, 3])
    assert until_quiet(lambda: next(arriving, 3), 3, quiet=60.0) == 3
    assert until_quiet(lambda: 1, 3, quiet=0.0) == 1


def test_a_burst_tells_results_from_errors(threads: Threads) -> None:
    def odd_fails(number: int) -> int:
        if number % 2:
            raise KeyError(number)
        return number

    burst = Burst(threads, odd_fails, 10, durable=False)
    wait_until(lambda: not burst.progress()["unsettled"], "the burst is over")
    assert burst.progress()["settled"] == {"ok": 5, "KeyError": 5}


def test_a_session_answers_each_line_and_survives_what_fails(threads: Threads) -> None:
    maps = {"do": "map", "count": 4, "chunk": 2}
    orders = [maps | {"function": "trivial"}, None, {"do": "recover", "count": 1, "quiet": 0.0}]
    orders += [maps | {"function": "nothing"}, None, {"do": "parts", "part": "a worker"}]
    lines = "".join((json.dumps(order) if order else "") + "\n" for order in orders)
    out = io.StringIO()
    Session(threads, io.StringIO(lines), out).run()
    begin, end, mapped, recovered, _, failed, parts = map(json.loads, out.getvalue().splitlines())
    assert (begin, end) == ({"event": "begin", "waits": True}, {"event": "end", "waits": False})
    assert mapped["answer"]["tasks"] == 4
    assert recovered == {"answer": None}
    assert failed["failed"].startswith("KeyError")
    assert parts["failed"].startswith("KeyError")


# --- real processes --------------------------------------------------------------------------------


def test_a_peer_is_started_watched_and_ended() -> None:
    """The whole way, with the one peer that needs nothing installed."""
    used: dict[str, float] = {}
    with Place() as place, Adapter(PROCESS_POOL, place) as adapter:
        assert adapter.ask("start", 60.0, how="whole")["first"] > 0

        def on(event: str) -> None:
            used[event] = sum(adapter.watch.cpu().values())

        found = adapter.ask("map", 60.0, on, function="busy_1ms", count=100, chunk=10)
        roles = Counter(role for _, role in adapter.watch.cpu())
        assert adapter.watch.memory() > adapter.watch.client_memory() / 10
        left = adapter.watch.look()
        adapter.close()
    assert found["tasks"] == 100
    assert used["end"] - used["begin"] > 0.05  # of 0.1 s of work, told in ticks of 0.01 s
    assert roles["client"] == 1
    assert roles["workers"] == 2
    assert [process for process in left if process.is_running()] == []
    assert not place.folder.exists()


def test_a_client_that_was_killed_is_said_to_have_ended() -> None:
    with Place() as place, Adapter(PROCESS_POOL, place) as adapter:
        adapter.ask("start", 60.0, how="whole")
        adapter.kill()
        with pytest.raises(PeerFailed, match="its client ended with -9"):
            adapter.ask("trips", 60.0, warm=0.0, seconds=0.0)


def test_a_worker_that_is_killed_breaks_a_process_pool() -> None:
    """What the faults table says of the best known peer is what everybody knows of it."""
    found = {fault.part: fault for fault in faults.measure(PROCESS_POOL, Context(quick=True))}
    alone = found["a worker"].alone
    assert alone is not None
    assert list(alone.errors) == ["BrokenProcessPool"]
    assert alone.unsettled == 0
    assert set(found) == {"a worker"}


def test_parts_are_found_by_another_client_and_started_again(tmp_path: Path) -> None:
    port = free_port()
    parts = Parts(tmp_path)
    parts.start("server", [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)])
    wait_until(lambda: answers(port), "the server answers")
    assert Parts(tmp_path).pid("server") == parts.pid("server")
    parts.stop()
    assert not answers(port)
    parts.start_again("server")
    wait_until(lambda: answers(port), "the server answers again")
    parts.stop()


# --- the catalogue -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_peer_has_its_adapter_and_its_locked_environment(kind: Any) -> None:
    assert find_spec(f"benchmarks.peers.adapters.{kind.name}") is not None
    if kind.environment and not kind.ours:
        lock = (ROOT / "benchmarks/peers/requirements" / f"{kind.environment}.lock").read_text()
        assert f"\n{kind.package}==" in lock
        assert "torch" not in lock


def test_every_locked_file_is_checked_by_its_hash() -> None:
    for lock in (ROOT / "benchmarks/peers/requirements").glob("*.lock"):
        blocks = lock.read_text().split("\n")
        pinned = [at for at, line in enumerate(blocks) if "==" in line and not line.startswith((" ", "#"))]
        assert pinned
        assert [blocks[at] for at in pinned if "--hash=sha256:" not in blocks[at + 1]] == [], lock.name


def test_an_unknown_peer_is_refused_with_those_there_are() -> None:
    words = [sys.executable, "-m", "benchmarks.peers", "gearman"]
    refused = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert "there is no peer gearman" in refused.stderr


@pytest.mark.parametrize(
    ("rate", "whole", "count"),
    [
        (200_000.0, False, 1_000_000),  # a million takes five seconds
        (90_000.0, False, 1_000_000),  # eleven
        (10_000.0, False, 40_000),  # a hundred would be too long
        (10_000.0, True, 1_000_000),  # but is what the goal is about
        (10.0, False, 20_000),
    ],
)
def test_a_map_is_of_a_million_where_that_is_not_far(rate: float, whole: bool, count: int) -> None:
    assert cells.wanted(cells.BATCHES[0], rate, 4.0, million=True, whole=whole) == count
    assert cells.wanted(cells.BATCHES[1], 1900.0, 4.0, million=True, whole=whole) == 7600
