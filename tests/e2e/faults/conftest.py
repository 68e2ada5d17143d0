"""One grid for all tests of a module that must do no harm to it, and the check that they did none."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from crowdgrid import kernels
from tests.e2e.faults.raw import RawClient, RawNode, fresh
from tests.e2e.grid import TOKEN, Grid, Process, until

ECHO = kernels.path("echo").read_bytes()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A hub and two agents that run WASM; the echo runtime is left to the nodes a test plays."""
    with Grid(tmp_path_factory.mktemp("grid")) as found:
        found.start_hub()
        found.start_agents(2)
        yield found


@pytest.fixture
def unharmed(grid: Grid) -> Iterator[None]:
    """After the test the same hub and agents are there and work, and the hub had no trouble of its own."""
    pids = [process.pid for process in grid.processes]
    said = len(grid.hub.said)
    yield
    news = grid.hub.said[said:]
    assert not re.search(r"Traceback|^\S+ error ", news, re.MULTILINE), news[-4000:]
    assert [process.pid for process in grid.processes if process.running] == pids, "a process is gone"
    for agent in grid.agents:
        until(partial(_is_at_rest, agent), f"{agent.title} has one worker for its one core")
    grid.wait_online(2)
    with grid.connect() as connected:
        assert connected.run(ECHO, items=[b"still", b"here"]).result(timeout=60) == [b"still", b"here"]


def _is_at_rest(agent: Process) -> bool:
    return len(agent.workers()) == 1


@pytest.fixture(scope="module")
def echo(grid: Grid) -> str:
    """Digest of a program for the echo runtime, which no agent here has."""
    content = b"for the echo runtime"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
    answer = httpx.put(f"{grid.url}/v1/programs?runtime=echo", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def client(grid: Grid) -> Iterator[RawClient]:
    with RawClient(grid.url) as found:
        yield found


@pytest.fixture
def node(grid: Grid) -> Iterator[RawNode]:
    """A node of its own for each test."""
    with RawNode(grid.url, fresh()) as found:
        yield found
