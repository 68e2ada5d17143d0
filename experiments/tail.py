"""The end of a batch in a crowd that comes and goes: how long the last hundredth of its tasks takes.

Nodes come and go as published of volunteers' hosts, by both readings. The same crowd, seed by seed, with and without
copies of late tasks, and under BOINC's deadlines (`deadlines.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from benchmarks.report import markdown_table
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.checkers import ENDED
from crowdgrid.simulation.world import World
from experiments import page, runs
from experiments.deadlines import batch
from experiments.runs import Broken
from experiments.statistics import mean

SEEDS: Final = 12
READINGS: Final = ("narrow", "wide")
HOURS: Final = (4, 24, 168)
CROWD: Final = {
    reading: s.Crowd("volunteers", 300, availability=s.Churn(reading=reading), speed_spread=0.5, ahead=0)
    for reading in READINGS
}
JOB: Final = s.Jobs("batch", 3_000, unit_ms=900_000.0, work="lognormal", spread=0.3)
STEP_S: Final = 10.0
RULES: Final = ("without copies", "with copies", *(f"BOINC, {hours} h" for hours in HOURS))


@dataclass(frozen=True)
class Case:
    """A batch under a rule."""

    reading: str
    rule: str
    seed: int


@dataclass(frozen=True)
class End:
    """Hours until 99 % of the tasks had a result, and all. `runs`: executions a task, 0 unknown."""

    most: float
    all: float
    runs: float

    @property
    def tail(self) -> float:
        return self.all - self.most


def end(case: Case) -> End:
    """What came of a batch."""
    if case.rule.startswith("BOINC"):
        hours = int(case.rule.split()[1])
        done = batch(CROWD[case.reading], JOB, case.seed, hours * 3_600_000)
        return End(done[ceil(0.99 * len(done)) - 1] / 3_600_000, done[-1] / 3_600_000, 0.0)
    scenario = s.Scenario(
        about=f"tail {case}",
        crowd=(CROWD[case.reading],),
        jobs=(JOB,),
        policy=s.PolicyTable(speculate=case.rule == "with copies"),
        run=s.Run(hours=2_000.0, check_every=10**6, starve_s=3_600.0),
    )
    world = World(scenario, case.seed)
    most = at = 0.0
    while not (books := list(world.checkers.books.values())) or books[0].record.state not in ENDED:
        at += STEP_S
        world.advance(at)
        if not most and books and books[0].record.counts.validated >= 0.99 * JOB.tasks:
            most = at
    outcome = world.run()
    if outcome.fault:
        raise Broken(f"{case}: {outcome.fault}")
    return End(most / 3600, at / 3600, outcome.jobs[0].executions)


def measure(*, quick: bool) -> list[str]:
    seeds = range(1, (4 if quick else SEEDS) + 1)
    cases = [Case(reading, rule, seed) for reading in READINGS for rule in RULES for seed in seeds]
    found = dict(zip(cases, runs.each(end, cases), strict=True))
    rows = []
    for reading in READINGS:
        plain = [found[Case(reading, RULES[0], seed)] for seed in seeds]
        for rule in RULES:
            here = [found[Case(reading, rule, seed)] for seed in seeds]
            columns = [mean([getattr(each, name) for each in here]) for name in ("most", "tail", "all")]
            beside = mean([each.tail / other.tail for each, other in zip(here, plain, strict=True)])
            cost = f"{sum(each.runs for each in here) / len(here):.3f}" if here[0].runs else ""
            rows.append([reading, rule, *map(str, columns), str(beside) if rule != RULES[0] else "1", cost])
    head = [
        "times off",
        "rule",
        "99 % after, h",
        "the last 1 %, h",
        "all, h",
        "the last 1 % beside none",
        "runs a task",
    ]
    about = f"{len(seeds)} seeds each; mean and 95 % interval, pair by pair where beside one another."
    return [about, markdown_table(head, rows), _picture(found, list(seeds))]


def _picture(found: dict[Case, End], seeds: list[int]) -> str:
    figure, axes = page.canvas(1, 2, size=(9.0, 3.6))
    for axis, reading in zip(axes, READINGS, strict=True):
        here = [[found[Case(reading, rule, seed)].tail for seed in seeds] for rule in RULES]
        axis.boxplot(here, tick_labels=[rule.replace(", ", ",\n").replace(" copies", "\ncopies") for rule in RULES])
        axis.set_yscale("log")
        axis.set_title(f"times off: {reading}")
        axis.set_ylabel("the last 1 %, h")
    return page.picture("tail", figure, "How long the last hundredth of a batch takes, under each rule")
