"""Answers of real agents of different owners compared: over the terminal, from Python, with one that lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import crowdgrid as cg
from tests.e2e.grid import SECONDS, Grid, until

OWNERS = ("ada", "ben", "cleo")


def start(grid: Grid, owner: str) -> None:
    """An agent of this owner's that runs anybody's Python."""
    name = f"of-{owner}"
    words = ["agent", "run", "--hub", grid.url, "--data", str(grid.folder / name), "--name", name, "--cpus", "1"]
    words += ["--no-limits", "--drain-seconds", "2", "--python", "everyone", "--runtime", "wasm", "--runtime", "python"]
    grid.agents.append(grid.run(name, *words, CROWDGRID_INVITATION=grid.invite(owner)))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(tmp_path_factory.mktemp("agreement") / "grid") as found:
        found.start_hub()
        for owner in OWNERS:
            start(found, owner)
        found.wait_online(len(OWNERS))
        yield found


def voters(grid: Grid, job: str) -> list[set[str]]:
    """Who answered each task, by the nodes' names."""
    names = {node["id"]: node["name"] for node in grid.get("/v1/nodes")["nodes"]}
    tasks = grid.get(f"/v1/jobs/{job}/tasks", limit=1000)["tasks"]
    shown = [grid.get(f"/v1/jobs/{job}/tasks/{task['ordinal']}") for task in tasks]
    return [{names[each["node"]] for each in task["assignments"] if each["state"] == "reported"} for task in shown]


def test_a_majority_over_the_terminal(grid: Grid) -> None:
    words = ["run", "primes", "--range", "0:400000", "--piece", "100000", "--reduce", "sum", "--name", "agreed"]
    done = grid.command(*words, "--consensus", "majority", "--overlap", "3")
    assert (done.returncode, done.stdout.strip()) == (0, "33860"), done.stderr
    assert all(len(each) == 2 for each in voters(grid, "agreed"))


@pytest.mark.parametrize("compare", ["numeric:-1", "close", "exact:1", "numeric:1,2,3", "numeric:x"])
def test_a_comparison_that_is_none_is_refused(grid: Grid, compare: str) -> None:
    words = ["run", "primes", "--range", "0:10", "--consensus", "majority", "--overlap", "2", "--compare", compare]
    done = grid.command(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_functions_are_answered_when_two_owners_agree(grid: Grid) -> None:
    with grid.connect() as connected:
        square = connected.function(lambda x: x * x, replicas=2)
        assert list(square.map(range(40))) == [x * x for x in range(40)]
        assert square.submit(7).result(SECONDS) == 49


def test_a_function_that_gives_something_else_on_one_machine_is_outvoted(grid: Grid, tmp_path: Path) -> None:
    """The program itself lies where it is told to: on the machine of one owner, whose folder it knows by its name."""
    lying = str(grid.folder / "of-cleo")

    def answer(x: int) -> int:
        import os
        import pathlib

        def line(pid: int) -> bytes:
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()

        parents = [os.getpid(), os.getppid()]
        return -1 if any(lying.encode() in line(pid) for pid in parents) else x * x

    with grid.connect() as connected:
        asked = connected.function(answer, error_bound=1e-4, piece=2)
        job = asked.spawn_map(range(60), name="with a liar")
        assert job.result(timeout=SECONDS) == [x * x for x in range(60)]
    tasks = grid.get("/v1/jobs/with a liar/tasks", limit=1000)["tasks"]
    assert all(task["confidence"] >= 1 - 1e-4 for task in tasks)
    trust = {node["name"]: node["trust"] for node in grid.get("/v1/nodes")["nodes"]}
    told = grid.command("nodes", "trust", "of-cleo").stdout
    assert "another answer stands" in told or trust["of-cleo"] == 1.0, "less than 1 is no trust index"
    assert "Of its answers of kind python" in grid.command("why", "of-cleo").stdout
    assert trust["of-cleo"] < min(trust["of-ada"], trust["of-ben"]), json.dumps(trust)


# Prints 42 and a blank, which one is up to chance: tab, line feed, vertical tab or form feed.
BLANKS = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\03\\00\\00\\00") (data (i32.const 16) "42")
  (func (export "_start")
    (drop (call $random (i32.const 18) (i32.const 1)))
    (i32.store8 (i32.const 18) (i32.add (i32.const 9) (i32.and (i32.load8_u (i32.const 18)) (i32.const 3))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def test_answers_are_compared_by_a_program_of_ones_own(grid: Grid, tmp_path: Path) -> None:
    program = tmp_path / "blanks.wasm"
    program.write_bytes(wasmtime.wat2wasm(BLANKS))
    items = tmp_path / "items.txt"
    items.write_text("x\n" * 12)
    words = ["run", str(program), "--items", str(items), "--piece", "4", "--consensus", "majority", "--overlap", "2"]
    done = grid.command(*words, "--compare", f"program:{cg.kernels.path('words')}", "--name", "blanks")
    assert done.returncode == 0, done.stderr
    assert [each.strip() for each in done.stdout.split()] == ["42"] * 12
    assert all(len(each) == 2 for each in voters(grid, "blanks")), "they agree, so nobody else was asked"


def test_a_comparator_that_does_not_work_is_told_and_decides_nothing(grid: Grid, tmp_path: Path) -> None:
    program = bytes(wasmtime.wat2wasm(BLANKS))
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start") unreachable))'))
    with grid.connect() as connected:
        job = connected.run(
            program,
            split=cg.Items([b"x"] * 16, piece=1),  # some of them are answered differently by all three
            consensus="majority",
            overlap=3,
            compare=broken,
            name="broken comparator",
        )
        told = until(lambda: [each for each in job.why()["reasons"] if "comparator" in each["text"]], "it is told")
        assert "unreachable" in told[0]["text"]
        job.cancel()


def test_a_comparator_that_is_no_program_is_refused(grid: Grid, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.wasm"
    nothing.write_bytes(b"nothing")
    with grid.connect() as connected, pytest.raises(cg.errors.BadProgram):
        connected.run("primes", split=cg.Range(0, 10), consensus="majority", overlap=2, compare=nothing)


def test_numbers_that_differ_in_their_last_digits_agree(grid: Grid) -> None:
    with grid.connect() as connected:
        program = cg.kernels.path("echo").read_bytes()
        job = connected.run(
            program, items=[b"0.1", b"0.2"], consensus="majority", overlap=2, compare=cg.Numeric(rtol=1e-6)
        )
        assert job.result(timeout=SECONDS) == [b"0.1", b"0.2"]


def test_credit_is_booked_when_a_job_has_ended(grid: Grid) -> None:
    """Two of three are asked and paid alike; a job nobody compared pays nothing."""
    with grid.connect() as connected:
        program = cg.kernels.path("primes")
        for consensus, overlap in (("majority", 2), ("single", 1)):
            job = connected.run(
                program,
                split=cg.Range(0, 400_000, 100_000),
                reduce="sum",
                consensus=consensus,
                overlap=overlap,
                name=f"paid {consensus}",
            )
            assert job.result(timeout=SECONDS) == 33860
    paid = grid.get("/v1/jobs/paid majority")["id"]

    def entries() -> list[dict[str, Any]]:
        ids = [node["id"] for node in grid.get("/v1/nodes")["nodes"]]
        pages = [grid.get(f"/v1/nodes/{each}/credit")["entries"] for each in ids]
        return [entry for page in pages for entry in page if entry["job"] == paid]

    found = until(lambda: len(entries()) >= 2 and entries(), "credit is booked")
    assert sum(entry["tasks"] for entry in found) == 8, "each of four tasks twice"
    assert len({entry["price"] for entry in found}) == 1
    assert all(entry["amount"] == pytest.approx(entry["units"] * entry["price"], abs=2e-6) for entry in found)
    single = grid.get("/v1/jobs/paid single")["id"]
    told = json.dumps([grid.get(f"/v1/nodes/{node['id']}/credit") for node in grid.get("/v1/nodes")["nodes"]])
    assert single not in told
    shown = grid.command("credit")
    assert "of-ada" in shown.stdout or "of-ben" in shown.stdout
    earner = grid.get("/v1/credit")["earners"][0]
    assert earner["total"] > 0
    assert f"{earner['total']:,.1f} credits" in grid.command("credit", earner["name"]).stdout
    assert f"It has earned {earner['total']:,.1f} credits" in grid.command("why", earner["name"]).stdout
    task = grid.get("/v1/jobs/paid majority/tasks")["tasks"][0]["id"]
    assert "Each node that gave the answer that stands earned" in grid.command("why", task).stdout
