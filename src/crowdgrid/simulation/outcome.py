"""What came of a run, for people and programs."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from crowdgrid.core.model import JobState
from crowdgrid.core.trust.credit import MICRO
from crowdgrid.simulation.timeline import START_MS

if TYPE_CHECKING:
    from crowdgrid.simulation.checkers import JobBook
    from crowdgrid.simulation.world import World


class Sample(msgspec.Struct, frozen=True):
    """One moment. Times in ms since the run began; the rest are sums over all jobs."""

    at_ms: int
    online: int
    leased: int
    settled: int
    wrong: int


class JobsOutcome(msgspec.Struct, frozen=True):
    """The jobs of one `[[jobs]]` table together.

    Attributes:
        executions: assignments leased a settled task. wrong_first, wrong_final: accepted wrong answers when first
            delivered and when final; the bounds are the 95 % upper ones (Clopper–Pearson).
        wait_s_…: from submission to a task's first lease. makespan_s: of the longest, from submission to completion.
    """

    name: str
    consensus: str
    jobs: int
    final: int
    failed: int
    tasks: int
    leased: int
    executions: float
    reopened: int
    given_up: int
    lost: int
    wrong_first: int
    wrong_first_bound: float
    wrong_final: int
    wrong_final_bound: float
    wait_s_least: float
    wait_s_mean: float
    wait_s_most: float
    makespan_s: float


class CrowdOutcome(msgspec.Struct, frozen=True):
    """The nodes of one `[[crowd]]` table together. `judged`, `thought_wrong`: of their standings. `credit`: what they
    earned, in credits."""

    name: str
    nodes: int
    behaviour: str
    answered: int
    wrong: int
    broke: int
    counted: int
    unneeded: int
    trust_mean: float
    judged: int
    thought_wrong: float
    credit: float


class Outcome(msgspec.Struct, frozen=True):
    """A whole run. `fault` is "" when every promise was kept. `cpu_s` is the one figure that a replay does not repeat."""

    seed: int
    fault: str
    hours: float
    nodes: int
    events: int
    commands: int
    frames: int
    frames_lost: int
    crashes: int
    takeovers: int
    refused: int
    leased: int
    cpu_s: float
    leased_a_cpu_second: float
    verdicts: dict[str, int]
    jobs: tuple[JobsOutcome, ...]
    crowd: tuple[CrowdOutcome, ...]
    samples: tuple[Sample, ...]


def told(world: World, fault: str, cpu_s: float) -> Outcome:
    """What a world has come to."""
    leased = sum(book.leased for book in world.checkers.books.values())
    return Outcome(
        seed=world.seed,
        fault=fault,
        hours=(world.timeline.now - START_MS) / 3_600_000,
        nodes=len(world.crowd),
        events=world.timeline.happened,
        commands=world.commands,
        frames=world.network.frames,
        frames_lost=world.network.lost,
        crashes=world.crashes,
        takeovers=world.takeovers,
        refused=world.refused + (world.hub.refused if world.hub else 0),
        leased=leased,
        cpu_s=cpu_s,
        leased_a_cpu_second=leased / cpu_s if cpu_s else 0.0,
        verdicts={verdict.value: count for verdict, count in sorted(world.verdicts.items())},
        jobs=tuple(_jobs(world, index) for index in range(len(world.scenario.jobs))),
        crowd=tuple(_crowd(world, index) for index in range(len(world.groups))),
        samples=tuple(world.samples),
    )


def _jobs(world: World, index: int) -> JobsOutcome:
    order = world.scenario.jobs[index]
    books: list[JobBook] = [book for book in world.checkers.books.values() if book.truth.order is order]
    leased, accepted = sum(book.leased for book in books), sum(book.accepted for book in books)
    first, final = sum(book.first_wrong for book in books), sum(book.standing_wrong for book in books)
    settled = sum(book.record.counts.validated for book in books)
    cut = sum(book.record.counts.tasks for book in books)
    waits = [book.wait_ms_least for book in books if book.wait_ms_least >= 0]
    return JobsOutcome(
        name=order.name,
        consensus=order.consensus,
        jobs=len(books),
        final=sum(book.record.state is JobState.FINAL for book in books),
        failed=sum(book.record.state is JobState.FAILED for book in books),
        tasks=settled,
        leased=leased,
        executions=leased / settled if settled else 0.0,
        reopened=sum(book.reopened for book in books),
        given_up=sum(book.given_up for book in books),
        lost=sum(book.record.counts.lost for book in books),
        wrong_first=first,
        wrong_first_bound=upper_bound(first, accepted),
        wrong_final=final,
        wrong_final_bound=upper_bound(final, settled),
        wait_s_least=min(waits, default=0) / 1000,
        wait_s_mean=sum(book.wait_ms_sum for book in books) / max(cut, 1) / 1000,
        wait_s_most=max((book.wait_ms_most for book in books), default=0) / 1000,
        makespan_s=max((book.completed_at - book.record.created_at for book in books if book.completed_at), default=0)
        / 1000,
    )


def _crowd(world: World, index: int) -> CrowdOutcome:
    group = world.groups[index]
    numbers = [member.number for member in world.crowd if member.group is group]
    nodes = [world.checkers.nodes[number] for number in numbers if number in world.checkers.nodes]
    standings = [world.checkers.standings[number] for number in numbers if number in world.checkers.standings]
    counted = {verdict.value: count for verdict, count in group.verdicts.items()}
    return CrowdOutcome(
        name=group.spec.name,
        nodes=group.spec.count,
        behaviour=type(group.spec.behaviour).__name__,
        answered=group.answered,
        wrong=group.wrong,
        broke=group.broke,
        counted=counted.get("counted", 0) + counted.get("late_paid", 0),
        unneeded=counted.get("late_unneeded", 0),
        trust_mean=sum(node.trust for node in nodes) / len(nodes) if nodes else 0.0,
        judged=sum(standing.judged for standing in standings),
        thought_wrong=sum(standing.wrong for standing in standings),
        credit=sum(world.checkers.ledger.earned[number] for number in numbers) / MICRO,
    )


def upper_bound(wrong: int, of: int, confidence: float = 0.95) -> float:
    """The largest share that is compatible with seeing `wrong` among `of`, one-sided (C. Clopper and E. Pearson, "The
    use of confidence or fiducial limits", Biometrika 26, 1934), by bisection on the binomial distribution."""
    if of == 0 or wrong >= of:
        return 1.0
    low, high = wrong / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(wrong, of, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(wrong: int, of: int, share: float) -> float:
    """The chance of at most `wrong` among `of`."""
    if share >= 1.0:
        return 0.0
    term = of * log(1.0 - share)
    total, odds = exp(term), log(share) - log(1.0 - share)
    for count in range(1, wrong + 1):
        term += log(of - count + 1) - log(count) + odds
        total += exp(term)
    return total
