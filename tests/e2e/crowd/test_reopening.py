"""A sum that was delivered and is wrong is corrected: the one who lied is found out, and its answers are judged anew."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from crowdgrid.cli.demo.dishonest import Plan
from crowdgrid.client.job import Job
from tests.e2e.crowd.asking import ask, falls, nodes, primes_below, tasks_of, trust_history, wrong
from tests.e2e.grid import SECONDS, Grid, until

BOUND: Final = 0.01  # soon reached, so that a node stands alone after a few answers
BELOW, TASKS = 400_000, 40
HONEST: Final = ("honest-1", "honest-2")
SLEEPER: Final = "sleeper"


class Seen:
    """Every state and revision of a job its submitter was told, as they came."""

    def __init__(self, job: Job) -> None:
        self._job, self._lock = job, threading.Lock()
        self.told = [(job.state, job.revision)]
        job.link.watchers.append(self._look)

    def _look(self) -> None:
        now = (self._job.state, self._job.revision)
        with self._lock:
            if self.told[-1] != now:
                self.told.append(now)


def begin(grid: Grid, wake: Path) -> None:
    """A hub that looks at nothing twice of its own accord, so that it is known who finds out and when."""
    grid.start_hub("--audit-rate", "0", "--closing-audits", "0", "--canary-rate", "0")
    for name in (*HONEST, SLEEPER):
        plan = Plan(wake=str(wake), lie=1.0) if name == SLEEPER else None
        grid.start_agent(name=name, invitation=grid.invite(f"owner of {name}"), plan=plan)
    grid.wait_online(3)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", [False, True], ids=["", "hub-killed"])
def test_a_delivered_sum_is_corrected_and_its_submitter_sees_it(tmp_path: Path, store: str, killed: bool) -> None:
    """Three nodes are judged until each may stand alone; then one begins to lie. The sum it is in is wrong when it is
    delivered. It is found out by another job of the same program, and the first job opens again, by itself, also when the
    hub is killed as it begins to look: the submitter sees its revision rise and reads the right sum."""
    wake, counted = tmp_path / "wake", primes_below(BELOW)
    with Grid(tmp_path / "grid", store=store) as grid:
        begin(grid, wake)
        with grid.connect() as connected:
            known = ask(connected, BELOW, TASKS, consensus="majority", overlap=5)  # three of three
            assert known.result(timeout=SECONDS) == counted[-1]
            wake.touch()
            while True:  # until it is in both, for on a busy machine it may come too late for one
                told = grid.deeds(SLEEPER).count("lie")
                job = ask(connected, BELOW, TASKS, consensus="bounded_error", error_bound=BOUND)
                each = ask(connected, BELOW, TASKS, consensus="bounded_error", error_bound=BOUND, reduce="collect")
                seen = Seen(job)
                lies = job.result(timeout=SECONDS) - counted[-1]  # each is one too many, and nobody looked
                in_list = sum(map(int, each.result(timeout=SECONDS))) - counted[-1]
                assert lies + in_list == grid.deeds(SLEEPER).count("lie") - told
                if lies and in_list:
                    break
            assert job.revision == 0
            assert all(task["attempts"] == 1 for task in tasks_of(grid, job)), "each stood alone"
            ask(connected, BELOW, TASKS, consensus="majority", overlap=3)
            until(lambda: job.revision > 0 or falls(grid, SLEEPER) >= 2, "it is found out")
            if killed:
                grid.hub.kill()
                grid.restart_hub()
            until(lambda: job.revision >= lies and job.state == "completed", "all that it answered is answered anew")
            assert job.result(timeout=SECONDS) == counted[-1]
            until(lambda: each.revision >= in_list and each.state == "completed", "so is the list")
            assert [int(line) for line in each.result(timeout=SECONDS)] == [
                b - a for a, b in pairwise(counted[:: BELOW // TASKS])
            ]
            assert_seen(seen, lies, reopened=not killed)
            shown = grid.command("jobs", "show", job.id).stdout
        assert wrong(grid, job, counted) == []
        assert f"answers taken back  {job.revision}" in shown
        assert_known(grid)


def assert_seen(seen: Seen, lies: int, *, reopened: bool) -> None:
    """Complete at first, open again with answers taken back, complete in the end. Who was cut off from a hub that was
    killed may have missed that it was open, but not that answers were taken back."""
    states = [state for state, _ in seen.told]
    first = seen.told.index(("completed", 0))
    assert "sealed" in states[first:] or not reopened, seen.told
    assert states[-1] == "completed"
    revisions = [revision for _, revision in seen.told]
    assert revisions == sorted(revisions)
    assert revisions[-1] >= lies


def assert_known(grid: Grid) -> None:
    """Its trust has fallen and says by what; that of the others has not."""
    history = trust_history(grid, SLEEPER)
    assert history[-1] < max(history)
    assert "another answer stands" in grid.command("nodes", "trust", SLEEPER).stdout
    why = grid.command("why", SLEEPER).stdout
    assert "believed to be wrong" in why
    trust = {name: node["trust"] for name, node in nodes(grid).items()}
    assert trust[SLEEPER] < min(trust[name] for name in HONEST), trust
