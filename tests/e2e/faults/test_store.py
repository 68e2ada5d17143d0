"""A store that fails under a running hub: full, gone, or taken over by another hub."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

import crowdgrid
from crowdgrid import kernels
from tests.contracts.store.disks import tiny_disk
from tests.e2e.faults.feeding import Feeder
from tests.e2e.faults.forwarder import Forwarder
from tests.e2e.faults.recount import recount, sound
from tests.e2e.grid import TOKEN, Grid, free_port, until
from tests.postgres import PostgresServer

RECOVERY_SECONDS: Final = 15.0
FENCED: Final = 6  # exit status, see docs/operations.md


def problem(grid: Grid) -> dict[str, str]:
    """What the hub says is wrong; {} while all is well."""
    answer = httpx.get(f"{grid.url}/readyz", timeout=20)
    found: dict[str, str] = {} if answer.status_code == 200 else answer.json()
    return found


def recovers(grid: Grid, feeder: Feeder) -> None:
    """The hub goes on by itself, and so do agents and client."""
    began = time.monotonic()
    feeder.moves_on(100)
    took = time.monotonic() - began
    print(f"went on after {took:.1f} s")
    assert took <= RECOVERY_SECONDS
    assert not problem(grid)
    feeder.finish()
    feeder.check()


def counted(grid: Grid) -> None:
    assert grid.hub.stop() == 0
    with grid.database() as database:
        sound(database)
        recount(database, 1)


def test_full_disk_is_named_and_the_hub_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The disk fills up under load: `/readyz` says so and what to do; once there is room everything goes on."""
    with tiny_disk(tmp_path / "disk", 48 << 20) as disk, Grid(tmp_path, data=disk / "hub") as grid:
        grid.start_hub()
        grid.start_agents(2, runtimes=("echo",))
        feeder = Feeder(grid.url, TOKEN)
        feeder.moves_on(100)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            told = until(lambda: problem(grid) if not fill(file) else {}, "the hub finds the disk full")
        assert "is full" in told["detail"]
        assert "by itself" in told["hint"]
        filler.unlink()
        recovers(grid, feeder)
        counted(grid)


def fill(file: object) -> bool:
    """Take what room there is; whether there was any."""
    try:
        return bool(file.write(bytes(1 << 16)))  # type: ignore[attr-defined]
    except OSError:
        return False


def test_file_that_may_not_grow_is_told_about_and_the_hub_goes_on(tmp_path: Path) -> None:
    """The same for everybody who is not root: a limit on the size of files, set on the running hub and lifted again."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        grid.start_agents(2, runtimes=("echo",))
        feeder = Feeder(grid.url, TOKEN)
        feeder.moves_on(100)
        hub = psutil.Process(grid.hub.pid)
        _, most = hub.rlimit(resource.RLIMIT_FSIZE)
        hub.rlimit(resource.RLIMIT_FSIZE, (1 << 16, most))
        told = until(lambda: problem(grid), "the hub cannot write")
        assert "grid.db cannot be used" in told["detail"]
        assert grid.hub.running
        hub.rlimit(resource.RLIMIT_FSIZE, (most, most))
        recovers(grid, feeder)
        counted(grid)


def test_agent_that_cannot_write_keeps_its_answers_in_memory_and_says_so(tmp_path: Path) -> None:
    """An agent's full disk costs nobody an answer."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        (agent,) = grid.start_agents(1, runtimes=("echo",))
        process = psutil.Process(agent.pid)
        _, most = process.rlimit(resource.RLIMIT_FSIZE)
        process.rlimit(resource.RLIMIT_FSIZE, (0, most))
        feeder = Feeder(grid.url, TOKEN)
        feeder.moves_on(100)
        said = until(lambda: grid.status(agent).get("spool_problem", ""), "the agent says what is wrong")
        assert "kept in memory" in said
        process.rlimit(resource.RLIMIT_FSIZE, (most, most))
        feeder.finish()
        feeder.check()
        until(lambda: not grid.status(agent)["spool_problem"], "all is well again")


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """A server this test may kill."""
    server = PostgresServer()
    yield server
    server.stop()


def test_database_gone_and_back(tmp_path: Path, database: PostgresServer) -> None:
    """PostgreSQL is killed under load and started again: the hub says what is wrong, waits, and goes on by itself."""
    dsn = database.database()
    with Grid(tmp_path, store=dsn) as grid:
        grid.start_hub()
        grid.start_agents(2, runtimes=("echo", "wasm"))
        feeder = Feeder(grid.url, TOKEN)
        with grid.connect() as connected:
            primes = connected.run(kernels.path("primes"), split=crowdgrid.Range(0, 10**7, piece=10**5), reduce="sum")
            feeder.moves_on(100)
            database.kill()
            told = until(lambda: problem(grid), "the hub misses its database")
            assert "database" in told["detail"]
            assert told["retryable"]
            assert grid.hub.running
            refused = grid.command("jobs", "ls")
            assert refused.returncode == 3
            assert "database" in refused.stderr
            database.start()
            recovers(grid, feeder)
            assert primes.result(timeout=60) == 664_579
        twice = "SELECT count(*) FROM (SELECT 1 FROM task WHERE state = 5 GROUP BY job, start HAVING count(*) > 1) AS t"
        assert database.query(twice, dsn) == 0
        done = "SELECT sum(stop - start) FROM task WHERE job = 1 AND state = 5"
        assert database.query(done, dsn) == feeder.acknowledged


def test_a_second_hub_on_the_same_store_fences_the_first_off(tmp_path: Path) -> None:
    """The newer hub takes over under load; the older ends with its own exit status and says why; nobody loses a thing."""
    with Grid(tmp_path) as grid, Forwarder(grid.port) as network:
        first = grid.start_hub()
        grid.start_agents(2, url=network.url, runtimes=("echo",))
        feeder = Feeder(network.url, TOKEN)
        feeder.moves_on(100)
        network.target = free_port()
        grid.start_hub(title="second-hub", port=network.target)
        assert first.ended() == FENCED
        assert "Error: Another hub has taken over" in first.said
        assert "Only one hub may run on a store" in first.said
        assert "Traceback" not in first.said
        began = time.monotonic()
        feeder.moves_on(100)
        assert time.monotonic() - began <= RECOVERY_SECONDS
        feeder.finish()
        feeder.check()
        assert grid.processes[-1].stop() == 0
        with grid.database() as database:
            sound(database)
            recount(database, 1)


def test_a_store_a_newer_version_wrote_or_that_is_something_else_is_refused_at_start(tmp_path: Path) -> None:
    """A hub that cannot use its store says so at once and touches nothing."""
    grid = Grid(tmp_path)
    grid.data.mkdir()
    diary = grid.data / "grid.db"
    diary.write_bytes(b"dear diary, " * 500)
    refused = grid.command("hub", "--listen", f"127.0.0.1:{grid.port}", "--data", str(grid.data))
    assert refused.returncode == 3
    assert "not a database" in refused.stderr
    assert "Hint:" in refused.stderr
    assert diary.read_bytes() == b"dear diary, " * 500
