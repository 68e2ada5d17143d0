"""What a hostile node says, through a real hub, to the terminal and the programs of those who ask: shown, never obeyed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from crowdgrid.core.reducing.answers import Answer, pack_answers
from crowdgrid.protocol.failures import Failure, pack_failure
from crowdgrid.protocol.values import pack_value
from tests import marks
from tests.e2e.faults.raw import RawNode, fresh
from tests.e2e.grid import TOKEN, Grid, until

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r<script>alert(1)</script>[red]"


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with Grid(tmp_path / "grid") as found:
        found.start_hub()
        yield found


@pytest.fixture
def node(grid: Grid) -> Iterator[RawNode]:
    """A node whose every word is hostile."""
    with RawNode(grid.url, fresh(), greet=False) as found:
        found.greet(
            runtimes=("python",),
            trusts=("everyone",),
            inventory={EVIL: EVIL},
            benchmarks={EVIL: EVIL, "sha256": "fast"},
        )
        yield found


def answered(grid: Grid, node: RawNode) -> str:
    """A job of two calls: one returned, one raised what such a node says; its id."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
    with httpx.Client(base_url=grid.url, headers=headers) as rest:
        program = rest.put("/v1/programs", params={"runtime": "python"}, content=marks.program()).json()["digest"]
        request = {"program": program, "split": {"kind": "items", "piece": 2}, "runtime": "python", "name": "evil"}
        job: str = rest.post("/v1/jobs", json=request, headers={"Content-Type": "application/json"}).json()["id"]
        rest.post(f"/v1/jobs/{job}/items", content=b"1\n2\n")
        rest.post(f"/v1/jobs/{job}/seal")
    (lease,) = node.leases()
    raised = Failure(EVIL, EVIL, EVIL, traceback=f"{EVIL}\n{EVIL}", output=EVIL)
    told = [Answer(True, pack_value({EVIL: EVIL})), Answer(False, pack_failure(raised), EVIL)]
    node.report(lease, pack_answers(told), errors=1, stderr=EVIL.encode())
    until(lambda: grid.get(f"/v1/jobs/{job}")["state"] == "final", "the job has ended")
    return job


def test_no_command_hands_what_a_node_says_to_the_terminal_as_it_is(grid: Grid, node: RawNode) -> None:
    job = answered(grid, node)
    for words in (
        ["nodes", "ls"],
        ["nodes", "ls", "--json"],
        ["nodes", "show", node.did],
        ["nodes", "show", node.did, "--json"],
        ["jobs", "logs", job],
        ["jobs", "logs", job, "--json"],
        ["jobs", "logs", job, "--follow"],
        ["jobs", "results", job],
        ["jobs", "results", job, "--keep-errors", "--json"],
        ["jobs", "show", job],
        ["why", node.did],
        ["why", job],
    ):
        done = grid.command(*words)
        shown = done.stdout + done.stderr
        assert all(letter.isprintable() or letter in "\n\t" for letter in shown), (words, shown)
        assert "made a mistake" not in shown, (words, shown)
    assert "alert(1)" in grid.command("jobs", "logs", job).stdout
    first, *_ = grid.command("jobs", "results", job).stdout.splitlines()
    assert json.loads(first) == {EVIL: EVIL}, "a program reads what was said"


def test_a_notebook_shows_it_as_text(grid: Grid, node: RawNode) -> None:
    answered(grid, node)
    with grid.connect() as connected:
        for shown in (connected, connected.job("evil")):
            bundle = shown._repr_mimebundle_()
            assert "<script" not in bundle["text/html"]
            assert shown is connected or "&lt;script&gt;alert(1)" in bundle["text/html"]
            assert all(letter.isprintable() or letter == "\n" for letter in "".join(bundle.values()))
