"""One job fed by more than one program: killed and gone on with, side by side, and with something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crowdgrid
from crowdgrid import kernels, limits
from crowdgrid.client.grid import Grid as Connected
from crowdgrid.errors import Conflict, CrowdgridError
from tests.e2e.faults.conftest import ECHO
from tests.e2e.grid import TOKEN, Grid, until

pytestmark = pytest.mark.usefixtures("unharmed")
ECHO_PATH = str(kernels.path("echo"))

# Feeds so many items under a key; says so and halts for good after `halt` of them, unless that is 0.
FEEDER = """
import sys, threading
import crowdgrid

program, key, count, halt = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def source():
    for at in range(count):
        if halt and at == halt:
            print("halted", flush=True)
            threading.Event().wait()
        yield f"item {at}".encode()

with crowdgrid.connect() as grid:
    answers = grid.run(program, items=source(), key=key).result(timeout=120)
    assert answers == [f"item {at}".encode() for at in range(count)], answers[:5]
    print("right", flush=True)
"""


@pytest.fixture(scope="module")
def connected(grid: Grid) -> Iterator[Connected]:
    with grid.connect() as found:
        yield found


def feeder(grid: Grid, key: str, count: int, halt: int = 0) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    environ |= {"CROWDGRID_URL": grid.url, "CROWDGRID_TOKEN": TOKEN}
    command = [sys.executable, "-c", FEEDER, ECHO_PATH, key, str(count), str(halt)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def units_of(grid: Grid, key_of: str) -> int:
    jobs = grid.get("/v1/jobs", limit=1000)["jobs"]
    return next((job["counts"]["units"] for job in jobs if job["id"] == key_of), 0)


@pytest.mark.parametrize("halt", [1, 700, 3_000])
def test_a_client_killed_while_it_feeds_is_gone_on_with_by_the_same_program(
    grid: Grid, connected: Connected, halt: int
) -> None:
    """kill -9 in the middle, and the same script again: it says its whole input, and the job has it once."""
    key, before = f"killed at {halt}", {job["id"] for job in connected.jobs(1000)}
    with feeder(grid, key, 5_000, halt) as first:
        assert said(first) == "halted"
        (id,) = {job["id"] for job in connected.jobs(1000)} - before
        until(lambda: units_of(grid, id) >= 1, "some of it was appended")
        first.kill()
    with feeder(grid, key, 5_000) as second:
        assert said(second) == "right"
        assert second.wait(60) == 0
    job = connected.job(id)
    assert (job.state, job.counts.units, job.counts.units_done) == ("final", 5_000, 5_000)
    with feeder(grid, key, 5_000) as third:  # and when it has long ended, the answer is there still
        assert said(third) == "right"


def test_two_of_the_same_program_at_once_do_the_work_once(grid: Grid, connected: Connected) -> None:
    before = {job["id"] for job in connected.jobs(1000)}
    with feeder(grid, "twins", 5_000) as one, feeder(grid, "twins", 5_000) as other:
        assert [said(one), said(other)] == ["right", "right"]
    (id,) = {job["id"] for job in connected.jobs(1000)} - before
    assert connected.job(id).counts.units == 5_000


def outcome(job: crowdgrid.Job) -> Any:
    try:
        return job.result(timeout=60)
    except CrowdgridError as error:
        return error


def test_of_two_programs_with_other_items_one_is_told_and_the_other_gets_all_of_its_own(
    grid: Grid, connected: Connected
) -> None:
    """Neither loses an item nor gets one twice; the job is not cancelled under the one who was first."""
    mine = [b"mine %d" % n for n in range(2_000)]
    theirs = [b"theirs %d" % n for n in range(2_000)]
    with grid.connect() as other:
        first = connected.run(ECHO, items=mine, key="contested")
        second = other.run(ECHO, items=theirs, key="contested")
        assert first.id == second.id
        found = [outcome(first), outcome(second)]
    conflicts = [one for one in found if isinstance(one, Conflict)]
    answers = [one for one in found if isinstance(one, list)]
    assert len(conflicts) == 1, found
    assert "Another program appended other items to this job from unit" in conflicts[0].message
    assert "job of its own" in conflicts[0].hint
    assert answers in ([mine], [theirs])
    assert first.counts.units == 2_000


def test_a_longer_input_for_a_job_that_has_ended_is_told_so(connected: Connected) -> None:
    """What would be left out is never left out in silence."""
    items = [b"%d" % n for n in range(50)]
    assert connected.run(ECHO, items=items, key="ended").result(timeout=60) == items
    assert connected.run(ECHO, items=items, key="ended").result(timeout=60) == items
    for other in ([*items, b"more"], items[:-1]):
        with pytest.raises(Conflict, match="sealed with 50 units"):
            connected.run(ECHO, items=iter(other), key="ended").result(timeout=60)


# --- large items ------------------------------------------------------------------------------------


def test_large_items_go_out_and_come_back(connected: Connected) -> None:
    """Beyond what is stored together: each a chunk and, heavy as they are, a task of few."""
    items = [bytes([n]) * (limits.CHUNK_BYTES + n) for n in range(3)] + [b"small"] * 10
    job = connected.run(ECHO, items=items, memory="256MB", output="64MB")
    assert job.result(timeout=120) == items


def test_an_item_beyond_every_limit_is_refused_with_advice(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(limits, "ITEM_BYTES", 5 << 20)
    job = connected.run(ECHO, items=[b"fine", bytes((5 << 20) + 1)])
    with pytest.raises(CrowdgridError, match=r"An item of 5,242,881 bytes is over the limit of 5,242,880"):
        job.result(timeout=60)
