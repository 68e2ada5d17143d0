"""Input that cannot be used, and input that stops coming: told in one sentence with what to do, in Python and terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crowdgrid
from crowdgrid import kernels
from crowdgrid.client import background
from crowdgrid.client.grid import Grid as Connected
from crowdgrid.errors import (
    BadInput,
    BadProgram,
    Conflict,
    CrowdgridError,
    JobFailed,
    NotFound,
    NotSignedIn,
    Unavailable,
)
from tests.e2e.faults.conftest import ECHO
from tests.e2e.grid import TOKEN, Grid, free_port, until

pytestmark = pytest.mark.usefixtures("unharmed")
ECHO_PATH = str(kernels.path("echo"))


@pytest.fixture(scope="module")
def connected(grid: Grid) -> Iterator[Connected]:
    with grid.connect() as found:
        yield found


# What is given → the error, a word of its sentence, a word of its hint.
REFUSED: dict[str, tuple[dict[str, Any], type[CrowdgridError], str, str]] = {
    "a range that ends before it starts": ({"split": crowdgrid.Range(10, 3)}, BadInput, "before it starts", "3:10"),
    "an empty range": ({"split": crowdgrid.Range(3, 3)}, BadInput, "is empty", "0:10"),
    "a range beyond 63 bits": ({"split": crowdgrid.Range(0, 1 << 63)}, BadInput, "", ""),
    "a negative piece": ({"split": crowdgrid.Range(0, 3, piece=-1)}, BadInput, "piece", ""),
    "no input": ({}, BadInput, "exactly one input", "split="),
    "two inputs": ({"items": [b"a"], "lines": [b"b"]}, BadInput, "exactly one input", ""),
    "one text in place of items": ({"items": "abc"}, BadInput, "items are one str", "list"),
    "a file that is not there": ({"lines": "/nowhere/corpus.txt"}, BadInput, "/nowhere/corpus.txt", ""),
    "an axis without values": ({"split": crowdgrid.ParameterGrid(rate=[])}, BadInput, "rate", ""),
    "no such reducer": ({"split": crowdgrid.Range(0, 3), "reduce": "average"}, BadInput, "average", "sum"),
    "a name that is none": ({"split": crowdgrid.Range(0, 3), "name": "a/b"}, BadInput, "a/b", ""),
    "a time limit of nothing": ({"split": crowdgrid.Range(0, 3), "timeout": 0}, BadInput, "timeout", ""),
    "more memory than there is": ({"split": crowdgrid.Range(0, 3), "memory": 1 << 50}, BadInput, "memory", ""),
    "an argument with a zero byte": ({"split": crowdgrid.Range(0, 3), "args": ["a\0b"]}, BadInput, "zero byte", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_input_that_cannot_be_used_is_refused_before_there_is_a_job(connected: Connected, case: str) -> None:
    given, kind, word, hint = REFUSED[case]
    before = len(connected.jobs())
    with pytest.raises(kind) as refused:
        connected.run(ECHO, **given)
    assert word in refused.value.message, refused.value.message
    assert hint in refused.value.hint, refused.value.hint
    assert len(connected.jobs()) == before


def test_a_program_that_is_not_there_is_named(connected: Connected) -> None:
    with pytest.raises(BadProgram, match=r"'nowhere\.wasm' cannot be read: no such file") as refused:
        connected.run("nowhere.wasm", split=crowdgrid.Range(0, 3))
    assert ".wasm file" in refused.value.hint


@pytest.mark.parametrize(
    ("reduce", "answer"), [("collect", []), ("concatenate", b""), ("count", 0), ("sum", 0), ("first", None)]
)
def test_an_empty_input_is_answered_at_once(connected: Connected, reduce: str, answer: object) -> None:
    """Nothing to do is done: no task, an empty answer."""
    job = connected.run(ECHO, items=[], reduce=reduce)
    assert job.result(timeout=30) == answer
    assert job.counts.tasks == 0


def test_an_empty_file_is_an_empty_input(connected: Connected, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert connected.run(ECHO, lines=tmp_path / "empty").result(timeout=30) == []


def test_a_name_used_twice_is_refused_and_the_first_job_goes_on(connected: Connected) -> None:
    first = connected.run(ECHO, items=[b"a"], name="the-name")
    for _ in range(2):  # while it runs, and when it has ended
        with pytest.raises(Conflict, match="already have a job named 'the-name'") as refused:
            connected.run(ECHO, items=[b"b"], name="the-name")
        assert "another name" in refused.value.hint
        assert first.result(timeout=30) == [b"a"]
    assert connected.job("the-name").id == first.id


def test_a_job_that_is_not_there_is_told_so(connected: Connected) -> None:
    with pytest.raises(NotFound, match="no job 'never-was'") as refused:
        connected.job("never-was")
    assert "jobs ls" in refused.value.hint


def test_an_input_that_raises_ends_its_job_and_says_where(connected: Connected) -> None:
    """The submitter's own iterator fails: the job is cancelled with that reason, not left waiting for more."""

    def broken() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        raise ValueError("the sensor is gone")

    job = connected.run(ECHO, items=broken(), name="broken")
    with pytest.raises(JobFailed, match="after 2 units: ValueError: the sensor is gone"):
        job.result(timeout=30)
    state = until(lambda: connected.job("broken").state != "open" and connected.job("broken"), "it has ended")
    assert state.state == "cancelled"
    assert "the sensor is gone" in state.reason


def test_an_item_of_the_wrong_type_is_named(connected: Connected) -> None:
    job = connected.run(ECHO, items=[b"a", 7])  # type: ignore[list-item]
    with pytest.raises(JobFailed, match="Item 1 is of type int"):
        job.result(timeout=30)


# --- the terminal ----------------------------------------------------------------------------------

# Words after `crowdgrid` → exit status, words on standard error.
COMMANDS: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "ends before it starts": (("run", ECHO_PATH, "--range", "10:3"), 2, ("before it starts", "Hint:")),
    "no range": (("run", ECHO_PATH, "--range", "ten"), 2, ("'ten' is no range", "0:10**9")),
    "no input": (("run", ECHO_PATH), 2, ("exactly one input", "--range")),
    "no such file": (("run", ECHO_PATH, "--lines", "/nowhere/corpus.txt"), 2, ("/nowhere/corpus.txt", "no such file")),
    "no such program": (("run", "/nowhere/x.wasm", "--range", "0:3"), 2, ("/nowhere/x.wasm", "no such file")),
    "no such job": (("jobs", "show", "never-was"), 2, ("no job 'never-was'", "jobs ls")),
    "no such command": (("rum",), 2, ("no command 'rum'", "'run'")),
    "no such reducer": (("run", ECHO_PATH, "--range", "0:3", "--reduce", "mean"), 2, ("mean", "sum")),
    "a wrong token": (("jobs", "ls", "--token", "cg_wrong"), 4, ("token", "crowdgrid login")),
    "no hub": (("jobs", "ls", "--hub", f"http://127.0.0.1:{free_port()}"), 3, ("nothing listens there", "doctor")),
    "no address": (("jobs", "ls", "--hub", "ftp://x"), 2, ("not the address of a hub", "http://")),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_terminal_says_what_is_wrong_and_what_to_do(grid: Grid, case: str) -> None:
    words, status, said = COMMANDS[case]
    ended = grid.command(*words)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for word in said:
        assert word in ended.stderr, ended.stderr


def test_a_name_used_twice_in_the_terminal(grid: Grid) -> None:
    words = ("run", ECHO_PATH, "--grid", "a=1,2", "--name", "typed-twice")
    assert grid.command(*words).returncode == 0
    again = grid.command(*words)
    assert again.returncode == 2
    assert "already have a job named 'typed-twice'" in again.stderr
    assert "jobs show" in again.stderr


def test_a_wrong_token_or_address_in_python(grid: Grid) -> None:
    with pytest.raises(NotSignedIn) as refused:
        crowdgrid.connect(grid.url, "cg_wrong")
    assert "token" in refused.value.hint
    with pytest.raises(Unavailable, match="nothing listens there"):
        crowdgrid.connect(f"http://127.0.0.1:{free_port()}", TOKEN)


# --- input that stops coming -----------------------------------------------------------------------

VANISHING = """
import sys, time
import crowdgrid

def source():
    for at in range(100):
        yield f"item {at}".encode()
    print("fed", flush=True)
    time.sleep(600)

with crowdgrid.connect() as grid:
    job = grid.run(sys.argv[1], items=source(), name="left-behind")
    for row in job.results(ordered=False):
        print("row", flush=True)
"""


def test_a_client_that_vanishes_while_appending_leaves_a_job_another_can_go_on_with(grid: Grid) -> None:
    """kill -9 in the middle: what was acknowledged is there and answered, and somebody else appends the rest."""
    environ = {"CROWDGRID_URL": grid.url, "CROWDGRID_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", VANISHING, ECHO_PATH]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as vanishing:
        assert vanishing.stdout is not None
        for line in vanishing.stdout:
            if line == "row\n":
                break
        vanishing.kill()
    with grid.connect() as connected:
        job = connected.job("left-behind")
        assert job.state == "open"
        units = background.run(go_on(job))
        assert job.result(timeout=30) == [f"item {at}".encode() for at in range(units)]
        assert job.counts.lost == 0


async def go_on(job: crowdgrid.Job) -> int:
    """Append three items after those the job has, and seal it."""
    link = job.link
    first = link.units
    assert first > 0
    units = await link.append([f"item {at}".encode() for at in range(first, first + 3)])
    await link.seal()
    return units
