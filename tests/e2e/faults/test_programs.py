"""Programs that misbehave, as whole jobs: who submitted them reads why, everybody else's work goes on unharmed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crowdgrid
from crowdgrid import kernels
from crowdgrid.client.grid import Grid as Connected
from crowdgrid.errors import BadProgram, JobFailed
from tests.e2e.faults.conftest import ECHO
from tests.e2e.faults.programs import wasm
from tests.e2e.grid import Grid

pytestmark = pytest.mark.usefixtures("unharmed")
PRIMES_TO, PRIMES = 100_000_000, 5_761_455

# What is wrong with the program → options of the job, and what its submitter reads.
MISBEHAVING: dict[str, tuple[dict[str, Any], str]] = {
    "loop": ({"timeout": 0.3}, "ran longer than 0.3 s and was stopped"),
    "bomb": ({"memory": "32MiB"}, "used more than 32 MB of memory"),
    "flood": ({"output": "1MiB"}, "wrote more than 1 MB to stdout and was stopped"),
    "exit3": ({}, "exited with code 3"),
    "trap": ({}, "trapped: integer division by zero"),
    "recursion": ({}, "trapped"),
}


@pytest.fixture(scope="module")
def connected(grid: Grid) -> Iterator[Connected]:
    with grid.connect() as found:
        yield found


@pytest.fixture(scope="module")
def others_work(connected: Connected) -> Iterator[None]:
    """Somebody else's job, under way all the time; at the end its answer is right and no lease of it was lost."""
    split = crowdgrid.Range(0, PRIMES_TO, piece=250_000)
    job = connected.run(kernels.path("primes"), split=split, reduce="sum", priority=-5)
    yield
    assert job.result(timeout=90) == PRIMES
    assert job.counts.lost == 0


@pytest.mark.parametrize("name", MISBEHAVING)
@pytest.mark.usefixtures("others_work")
def test_a_run_that_misbehaves_fails_with_its_reason_and_alone(connected: Connected, name: str) -> None:
    """Its job says what happened to which unit; the agents keep their processes and start fresh workers."""
    options, sentence = MISBEHAVING[name]
    job = connected.run(wasm(name), items=[b"a", b"b", b"c"], **options)
    with pytest.raises(JobFailed) as failed:
        job.result(timeout=60)
    assert sentence in str(failed.value)
    assert "3 of 3 units failed" in str(failed.value)
    assert "unit 0" in str(failed.value)
    assert "job.errors()" in failed.value.hint
    assert job.counts.errors == 3
    assert job.counts.lost == 0, "it was taken for the node's fault"
    assert [error["unit"] for error in job.errors()] == [0, 1, 2]


def test_one_bad_item_fails_itself_and_not_its_neighbours(connected: Connected) -> None:
    """An output the reducer cannot read is named with its item, and leaving it out gives the rest."""
    job = connected.run(ECHO, items=[b"1", b"two", b"3"], reduce="sum")
    with pytest.raises(JobFailed, match="1 of 3 units failed") as failed:
        job.result(timeout=60)
    assert "unit 1" in str(failed.value)
    assert "'two' is not a decimal number" in str(failed.value)
    assert "partial=True" in failed.value.hint
    assert job.result(partial=True, timeout=60) == 4


def test_one_bad_item_among_large_outputs_is_not_passed_over(connected: Connected) -> None:
    """Answers too large for a message travel as a blob; what failed among them is still counted and named."""
    items = crowdgrid.Items([b"a" * 100_000, b"b" * 300_000, b"c"], piece=3)
    job = connected.run(ECHO, split=items, output=200_000)
    with pytest.raises(JobFailed, match="1 of 3 units failed") as failed:
        job.result(timeout=60)
    assert "unit 1" in str(failed.value)
    assert "wrote more than 200000 bytes" in str(failed.value)
    assert [len(output) for output in job.result(partial=True)] == [100_000, 1]


def test_a_job_whose_program_keeps_failing_stops_early(connected: Connected) -> None:
    """A thousand items are not tried when the first few show that none can work."""
    job = connected.run(wasm("exit3"), items=(b"x" for _ in range(1_000)), max_errors=5)
    with pytest.raises(JobFailed, match=r"made \d+ errors, and the job stops at 5") as failed:
        job.result(timeout=60)
    assert "exited with code 3" in str(failed.value)
    assert job.state == "failed"


@pytest.mark.parametrize(
    ("program", "sentence", "hint"),
    [
        (b"", "is empty", ".wasm file"),
        (b"print('hello')\n", "looks like text", "wasm32-wasi"),
        (b"#!/bin/sh\necho hello\n", "looks like a script", "wasm32-wasi"),
        (b"\x7fELF\2\1\1" + bytes(100), "native Linux program", "wasm32-wasi"),
        (b"\0asm\1\0\0\0" + b"\xff" * 50, "not a valid WebAssembly module", "wasm32-wasi"),
        (kernels.path("echo").read_bytes()[:-100], "not a valid WebAssembly module", ""),
        ("library", "no _start", "command"),
    ],
    ids=["empty", "text", "script", "elf", "garbage", "cut", "no _start"],
)
def test_what_is_no_program_is_refused_before_anything_is_scheduled(
    connected: Connected, program: bytes | str, sentence: str, hint: str
) -> None:
    content = wasm(program) if isinstance(program, str) else program
    before = len(connected.jobs())
    with pytest.raises(BadProgram, match=sentence) as refused:
        connected.run(content, split=crowdgrid.Range(0, 10))
    assert hint in refused.value.hint
    assert len(connected.jobs()) == before


def test_the_terminal_says_the_same(grid: Grid, tmp_path: Path) -> None:
    """Exit status 2 for what is no program, 1 for one that fails, and the sentence and what to do on standard error."""
    text = tmp_path / "notes.wasm"
    text.write_text("dear diary")
    refused = grid.command("run", str(text), "--range", "0:10")
    assert refused.returncode == 2
    assert "looks like text" in refused.stderr
    assert "Hint:" in refused.stderr
    bad = tmp_path / "exit3.wasm"
    bad.write_bytes(wasm("exit3"))
    failed = grid.command("run", str(bad), "--range", "0:10", "--max-errors", "1")
    assert failed.returncode == 1
    assert "exited with code 3" in failed.stderr
    assert "Traceback" not in refused.stderr + failed.stderr
