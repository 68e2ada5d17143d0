"""A crowd in which most have something to hide: real agents, half of them patched, a real hub that is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from crowdgrid.cli.demo.dishonest import REFUSED, Plan
from crowdgrid.client.job import Job
from tests.e2e.crowd.asking import ENDED, ask, falls, nodes, prices, primes_below, tasks_of, trust_history, votes, wrong
from tests.e2e.grid import Grid, Process, until

# Leases run out within seconds, but not because a busy machine does not get to say it is there.
TIMERS: Final = {"limits:LEASE_SECONDS": 8, "limits:HEARTBEAT_SECONDS": 2}
BELOW, TASKS = 1_600_000, 160
HONEST: Final = ("honest-1", "honest-2", "honest-3")
PLANS: Final = {
    "liar": Plan(after=12, lie=1.0, seed=1),
    "now-and-then": Plan(lie=0.1, seed=2),
    "staller": Plan(stall=0.1, seed=3),
    "sleepy": Plan(late=0.2, seed=4),
    "shaky": Plan(crash=0.1, seed=5),
    "two-tongued": Plan(contradict=0.3, seed=6),
    "boaster": Plan(inflate=100_000, seed=7),
}
TRIED: Final = {
    "liar": "lie",
    "now-and-then": "lie",
    "staller": "stall",
    "sleepy": "late",
    "shaky": "crash",
    "two-tongued": "contradict",
    "boaster": "inflate",
    "thief": "steal",
}
AGREEMENTS: Final[tuple[dict[str, Any], ...]] = (
    {"consensus": "bounded_error", "error_bound": 1e-5},
    {"consensus": "majority", "overlap": 3},
    # Nobody wins alone: the most trusted of five has at most 10/14 of their trust.
    {"consensus": "trust_weighted", "overlap": 5, "threshold": 0.75},
)


class Crowd:
    """The agents, each of an owner of its own, and the work they are given until each has done what it is there for."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        plans = PLANS | {"thief": Plan(steal=str(grid.folder / HONEST[0]), seed=8)}
        for name in (*HONEST, *plans):
            grid.start_agent(name=name, invitation=grid.invite(f"owner of {name}"), plan=plans.get(name))
        grid.wait_online(len(grid.agents))
        self.counted = primes_below(BELOW)
        self.jobs: list[Job] = []

    def revive(self) -> None:
        """Start again whoever ended itself."""
        for agent in self.grid.agents:
            if not agent.running:
                assert agent.title == "shaky", f"{agent.title} ended:\n{agent.said[-2000:]}"
                agent.again()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """As `until`, while those that end themselves are started again."""

        def looked() -> Any:
            self.revive()
            return condition()

        until(looked, what, seconds=120)

    def round(self, *, killed: Process | None = None) -> None:
        """A job of each kind of agreement at once, every answer of which is right. The hub may be killed on the way."""
        with self.grid.connect() as connected:
            jobs = [ask(connected, BELOW, TASKS, **agreement) for agreement in AGREEMENTS]
            if killed is not None:
                self.until(lambda: jobs[0].counts.validated > TASKS // 4, "a quarter is done")
                killed.kill()
                self.grid.restart_hub()
            self.until(lambda: all(job.state in ENDED for job in jobs), "the jobs have ended")
            for job in jobs:
                assert job.result(timeout=60) == self.counted[-1], job
        self.jobs += jobs

    def has_tried(self) -> bool:
        """Whether each has done what it is there for, and liars and the two-tongued have lost trust by it."""
        tried = all(self.grid.deeds(name).count(deed) > 0 for name, deed in TRIED.items())
        return tried and falls(self.grid, "liar") >= 2 and falls(self.grid, "two-tongued") > 0

    def said(self, name: str, deed: str) -> set[str]:
        """Everything the hub answered to such a deed, once it has answered to one."""
        self.until(lambda: self.grid.deeds(name).verdicts(deed), f"the hub answers to {name}")
        return set(self.grid.deeds(name).verdicts(deed))


@pytest.mark.timeout(400)
def test_a_crowd_half_of_which_cheats_gives_right_answers(tmp_path: Path, store: str) -> None:
    """They lie, stall, crash, come late, steal, say two things and boast, while the hub is killed under them; every
    answer delivered is right, no owner votes twice on a task, and what was tried came to nothing."""
    with Grid(tmp_path / "grid", store=store, timers=TIMERS) as grid:
        grid.start_hub()
        crowd = Crowd(grid)
        crowd.round(killed=grid.hub)
        while not crowd.has_tried():
            assert len(crowd.jobs) < 30, {name: grid.deeds(name).tried.keys() for name in TRIED}
            crowd.round()
        for job in crowd.jobs:
            assert wrong(grid, job, crowd.counted) == []
        for job in crowd.jobs[:: len(AGREEMENTS)]:  # not final: their votes may be looked at again
            for voters in votes(grid, job):
                assert len(voters) == len(set(voters)), "each of them has an owner of its own"
        assert all(task["confidence"] >= 1 - 1e-5 for task in tasks_of(grid, crowd.jobs[0]))
        came_to_nothing(crowd)
        boasting_does_not_pay(crowd)
        liars_are_known(crowd)


def came_to_nothing(crowd: Crowd) -> None:
    """What the hub said to each deed."""
    assert crowd.said("thief", "steal") <= {"not_yours", "unknown"}
    assert crowd.said("thief", "forge") == {REFUSED}
    assert crowd.said("two-tongued", "repeat") == {"duplicate"}
    assert crowd.said("two-tongued", "contradict") == {"conflicting"}
    late = {"late_paid", "late_unneeded"}  # what was withdrawn meanwhile, or came when the task was settled
    assert crowd.said("sleepy", "late") <= {"counted", *late}
    assert crowd.said("boaster", "inflate") <= {"counted", "duplicate", *late}
    shown = nodes(crowd.grid)
    assert shown["staller"]["lost"] > 0
    assert shown["shaky"]["online"] or crowd.grid.deeds("shaky").count("crash") > 0


def boasting_does_not_pay(crowd: Crowd) -> None:
    """Who claims a hundred thousand times what it used is paid what the others are, and that is what was used."""
    crowd.until(lambda: prices(crowd.grid, "boaster"), "a job of the boaster's is paid")
    boasted = prices(crowd.grid, "boaster")
    honest = prices(crowd.grid, HONEST[0]) | prices(crowd.grid, HONEST[1])
    both = boasted.keys() & honest.keys()
    assert both
    assert {job: boasted[job] for job in both} == {job: honest[job] for job in both}
    least_claim = 1e-3 * PLANS["boaster"].inflate / (BELOW / TASKS)  # a millisecond, of a machine like the reference
    assert max(boasted.values()) < least_claim / 10


def liars_are_known(crowd: Crowd) -> None:
    """Who lies loses what trust it had, and it is told why."""
    grid = crowd.grid
    history = trust_history(grid, "liar")
    assert max(history) > history[-1], history
    told = grid.command("nodes", "trust", "liar").stdout
    assert "another answer stands" in told
    why = grid.command("why", "liar").stdout
    assert "Of its answers of kind" in why
    trust = {name: node["trust"] for name, node in nodes(grid).items()}
    assert trust["liar"] < max(trust[name] for name in HONEST), trust
