"""What nobody can agree by is refused in a sentence, what lacks nodes waits and says so, and nothing is lost by either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdgrid.errors import BadInput
from tests.e2e.crowd.asking import PROGRAM, ask, primes_below, tasks_of
from tests.e2e.grid import SECONDS, Grid, until

RUN = ("run", "primes", "--range", "0:1000", "--reduce", "sum")
VOTE, BOUND = ("--consensus", "trust_weighted", "--overlap", "3"), ("--consensus", "bounded_error")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A hub and two agents, each of an owner of its own."""
    with Grid(tmp_path_factory.mktemp("bad-input") / "grid") as found:
        found.start_hub()
        for owner in ("ada", "ben"):
            found.start_agent(name=f"of-{owner}", invitation=found.invite(owner))
        found.wait_online(2)
        yield found


def jobs(grid: Grid) -> list[str]:
    return [job["id"] for job in grid.get("/v1/jobs", limit=1000)["jobs"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*VOTE, "--threshold", "0"), "threshold is 0; it may be more than 0 and at most 1."),
        ((*VOTE, "--threshold", "-0.5"), "threshold is -0.5;"),
        ((*VOTE, "--threshold", "1.001"), "threshold is 1.001;"),
        ((*VOTE, "--threshold", "nan"), "threshold is nan;"),
        ((*BOUND, "--error-bound", "0"), "error_bound is 0; it may be at least 1e-09 and less than 1."),
        ((*BOUND, "--error-bound", "-1e-6"), "error_bound is -1e-06;"),
        ((*BOUND, "--error-bound", "1"), "error_bound is 1;"),
        ((*BOUND, "--error-bound", "nan"), "error_bound is nan;"),
        ((*BOUND, "--error-bound", "little"), "'little' is no number"),
        ((*BOUND, "--overlap", "3"), "does not look at overlap"),
        (("--consensus", "majority", "--overlap", "51"), "overlap is 51 nodes; it may be 1 to 50 nodes."),
        (("--consensus", "mojority", "--overlap", "3"), "'mojority' is not one of"),
    ],
)
def test_what_no_vote_could_come_to_is_refused_in_the_terminal(grid: Grid, words: tuple[str, ...], told: str) -> None:
    before = jobs(grid)
    done = grid.command(*RUN, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert jobs(grid) == before, "nothing was begun"


@pytest.mark.parametrize(
    "agreement",
    [
        {"consensus": "trust_weighted", "overlap": 3, "threshold": 0.0},
        {"consensus": "trust_weighted", "overlap": 3, "threshold": float("nan")},
        {"consensus": "bounded_error", "error_bound": 0.0},
        {"consensus": "bounded_error", "error_bound": float("-inf")},
        {"consensus": "bounded_error", "collision": 1.5},
    ],
    ids=str,
)
def test_and_in_python_while_what_runs_goes_on(grid: Grid, agreement: dict[str, Any]) -> None:
    """The connection that asked for it has a job under way, and that ends well."""
    with grid.connect() as connected:
        running = connected.run(PROGRAM, items=[b""] * 4, args=["0", "1000"], reduce="count")
        with pytest.raises(BadInput) as refused:
            ask(connected, 1000, 2, **agreement)
        assert any(name in refused.value.message for name in agreement)
        assert running.result(timeout=SECONDS) is not None


@pytest.mark.parametrize(
    ("agreement", "wanted"),
    [
        ({"consensus": "majority", "overlap": 5}, 3),
        ({"consensus": "trust_weighted", "overlap": 3}, 3),
        ({"consensus": "bounded_error", "error_bound": 1e-9}, 3),
    ],
    ids=["majority", "trust_weighted", "bounded_error"],
)
def test_more_votes_than_there_are_owners_are_waited_for(grid: Grid, agreement: dict[str, Any], wanted: int) -> None:
    """Two owners answer; the job waits, says for whom, and goes on where it was when a third one comes."""
    counted = primes_below(1000)
    with grid.connect() as connected:
        job = ask(connected, 1000, 2, **agreement)
        until(
            lambda: grid.get(f"/v1/why/{job.id}")["summary"].startswith("It waits for nodes of more owners"),
            "it says so",
        )
        said = grid.command("why", job.id).stdout
        assert f"its tasks want {wanted}" in said
        assert said.count("has given an answer") == 2
        task = tasks_of(grid, job)[0]
        said = grid.command("why", task["id"]).stdout
        assert f"2 of {wanted} nodes it wants have answered." in said
        assert "of-ada may not" in said
        assert job.state == "sealed"
        third = grid.start_agent(name=f"third-{len(grid.processes)}", invitation=grid.invite("cleo"))
        try:
            assert job.result(timeout=SECONDS) == counted[-1]
        finally:
            third.stop()


def test_a_scenario_with_a_typo_is_told_where_it_is(grid: Grid, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[[crowd]]\nname = "machines"\ncuont = 3\n\n[[jobs]]\nname = "sweep"\ntasks = 10\n')
    done = grid.command("simulate", str(mine))
    assert done.returncode == 2
    assert "crowd.0 has no key 'cuont'" in done.stderr
    assert "Did you mean 'count'" in done.stderr
    assert "Traceback" not in done.stderr
