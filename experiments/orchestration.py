"""The published orchestration study: N nodes, M tasks, who waits how long under which rule.

Nodes and tasks are drawn anew for each seed, and each rule has the same ones. The engine is the hub's, its time
virtual. A node runs one task at a time, and only one it has the cores and the memory for. All tasks are submitted at
once. The published study does not say what its nodes and tasks were like: `NODE_CORES` and the others are ours.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Final

from benchmarks.report import markdown_table
from crowdgrid.simulation.scenario import Crowd, HubTable, Jobs, Network, PolicyTable, Scenario
from experiments import page, runs
from experiments.statistics import Mean, digits, mean

RULES: Final = ("fifo", "weighted_round_robin", "priority_fit", "crowd")
SIZES: Final = ((10, 50), (10, 100), (20, 50), (20, 100))
TIMES: Final = ("fixed", "proportional")
SEEDS: Final = 120
NODE_CORES, NODE_GB = (2, 4, 8), (4, 8, 16)
TASK_CORES, TASK_GB = (1, 2, 3, 4), (1, 2, 4, 8)
FIXED_S: Final = 1.0
SECONDS_A_UNIT: Final = 6.0  # of cores + GB/2: so that fifo waits about as long as in the published study
SPREAD: Final = 0.2  # σ of a task's time, of its mean
SUBMITTED_S: Final = 5.0
PUBLISHED: Final = {"fifo": (55.2, 121.0), "published heuristic": (47.1, 103.3)}  # mean and longest wait, s
PUBLISHED_RATIO: Final = 47.1 / 55.2


@dataclass(frozen=True)
class Case:
    """One draw of nodes and tasks under one rule; "bound" for what no rule can beat."""

    nodes: int
    tasks: int
    times: str
    rule: str
    seed: int


@dataclass(frozen=True)
class Waits:
    """From submission to a task's start, and until the last one is done; s."""

    least: float
    mean: float
    longest: float
    makespan: float


@dataclass(frozen=True)
class Task:
    cores: int
    gb: int
    seconds: float


def drawn(case: Case) -> tuple[list[tuple[int, int]], list[Task]]:
    """The nodes (cores, GB) and the tasks of a case: the same for every rule."""
    chance = random.Random(f"{case.nodes} {case.tasks} {case.times} {case.seed}")
    nodes = [(chance.choice(NODE_CORES), chance.choice(NODE_GB)) for _ in range(case.nodes)]
    tasks: list[Task] = []
    while len(tasks) < case.tasks:
        cores, gb = chance.choice(TASK_CORES), chance.choice(TASK_GB)
        usual = FIXED_S if case.times == "fixed" else SECONDS_A_UNIT * (cores + gb / 2)
        seconds = usual if case.times == "fixed" else max(usual * (1 + SPREAD * chance.gauss()), 0.1)
        if any(cores <= n and gb <= m for n, m in nodes):
            tasks.append(Task(cores, gb, seconds))
    return nodes, tasks


def scenario_of(case: Case) -> Scenario:
    nodes, tasks = drawn(case)
    return Scenario(
        about=f"orchestration {case}",
        crowd=tuple(
            Crowd(f"node-{at}", 1, cores=cores, slots=1, ahead=0, memory_mb=gb << 10)
            for at, (cores, gb) in enumerate(nodes)
        ),
        jobs=tuple(
            Jobs(
                f"task-{at}",
                1,
                unit_ms=task.seconds * 1000,
                at_s=SUBMITTED_S,
                milli_cpus=task.cores * 1000,
                memory_mb=task.gb << 10,
            )
            for at, task in enumerate(tasks)
        ),
        hub=HubTable(ranking=case.rule),  # type: ignore[arg-type]
        policy=PolicyTable(speculate=False),
        network=Network(delay_ms=(1, 5)),
    )


def waits(case: Case) -> Waits:
    """What came of a case."""
    if case.rule == "bound":
        return bound(*drawn(case))
    outcome = runs.run(scenario_of(case), case.seed)
    each = [job.wait_s_mean for job in outcome.jobs]
    return Waits(min(each), sum(each) / len(each), max(each), max(job.makespan_s for job in outcome.jobs))


def bound(nodes: list[tuple[int, int]], tasks: list[Task]) -> Waits:
    """What no rule can beat, even one that knows every task's time.

    Mean: shortest first on as many equal nodes, all of which take any task, has the least sum of waits (R. Conway,
    W. Maxwell, L. Miller, "Theory of Scheduling", 1967). Longest: when the last task starts all work but what is
    running then has been done, and at most one task a node is running. Makespan: the work over the nodes, the longest
    task, and the same for the tasks that only some of the nodes can take.
    """
    times = sorted(task.seconds for task in tasks)
    free = [0.0] * len(nodes)
    waited = []
    for seconds in times:
        start = heapq.heappop(free)
        waited.append(start)
        heapq.heappush(free, start + seconds)
    work = sum(times)
    longest = max(0.0, (work - sum(times[-len(nodes) :])) / len(nodes))
    makespan = max(work / len(nodes), times[-1])
    for cores in TASK_CORES:
        for gb in TASK_GB:
            able = sum(n >= cores and m >= gb for n, m in nodes)
            only = sum(task.seconds for task in tasks if task.cores >= cores and task.gb >= gb)
            if only:
                makespan = max(makespan, only / able)
    return Waits(0.0, sum(waited) / len(waited), longest, makespan)


def measure(*, quick: bool) -> list[str]:
    seeds = 30 if quick else SEEDS
    cases = [
        Case(nodes, tasks, times, rule, seed)
        for times in TIMES
        for nodes, tasks in SIZES
        for rule in (*RULES, "bound")
        for seed in range(1, seeds + 1)
    ]
    found = dict(zip(cases, runs.each(waits, cases), strict=True))
    parts = []
    for times in TIMES:
        rows, ratios = [], []
        for nodes, tasks in SIZES:
            of = {
                rule: [found[Case(nodes, tasks, times, rule, seed)] for seed in range(1, seeds + 1)]
                for rule in (*RULES, "bound")
            }
            rows += [_row(nodes, tasks, rule, of[rule]) for rule in of]
            ratios.append(_ratios(nodes, tasks, of))
        title = "every task takes 1 s" if times == "fixed" else "times proportional to what tasks need"
        head = ["N, M", "rule", "least wait", "mean wait", "longest wait", "makespan"]
        parts += [f"### {title[0].upper()}{title[1:]}", markdown_table(head, rows)]
        head = ["N, M", *(f"{rule} / fifo" for rule in RULES[1:]), "bound / fifo"]
        parts += ["Mean wait beside `fifo`, pair by pair of the same draw:", markdown_table(head, ratios)]
    last = [
        found[Case(20, 100, "proportional", rule, seed)].mean
        for rule in ("crowd", "fifo")
        for seed in range(1, seeds + 1)
    ]
    ratio = mean([crowd / fifo for crowd, fifo in zip(last[:seeds], last[seeds:], strict=True)])
    verdict = "better than" if ratio.high < PUBLISHED_RATIO else "not better than"
    parts.insert(
        0,
        f"{seeds} draws a cell; mean and 95 % interval, seconds. At (20, 100) with proportional times `crowd` waits {ratio} times as long as "
        f"`fifo`: {verdict} the published {PUBLISHED_RATIO:.3f} (47.1 s against 55.2 s).",
    )
    parts.append(_picture(found, seeds))
    return parts


def _row(nodes: int, tasks: int, rule: str, of: list[Waits]) -> list[str]:
    columns = [mean([getattr(each, name) for each in of]) for name in ("least", "mean", "longest", "makespan")]
    shown = [str(column) for column in columns] if rule != "bound" else [digits(column.value) for column in columns]
    return [f"{nodes}, {tasks}", rule if rule == "bound" else f"`{rule}`", *shown]


def _ratios(nodes: int, tasks: int, of: dict[str, list[Waits]]) -> list[str]:
    fifo = of["fifo"]
    pairs = [
        mean([one.mean / other.mean for one, other in zip(of[rule], fifo, strict=True)])
        for rule in (*RULES[1:], "bound")
    ]
    return [f"{nodes}, {tasks}", *map(str, pairs)]


def _picture(found: dict[Case, Waits], seeds: int) -> str:
    figure, axes = page.canvas(1, 2, size=(9.0, 4.0))
    for axis, times in zip(axes, TIMES, strict=True):
        for at, rule in enumerate((*RULES, "bound")):
            means: list[Mean] = [
                mean([found[Case(nodes, tasks, times, rule, seed)].mean for seed in range(1, seeds + 1)])
                for nodes, tasks in SIZES
            ]
            places = [place + (at - 2) * 0.16 for place in range(len(SIZES))]
            axis.bar(
                places,
                [each.value for each in means],
                0.15,
                yerr=[each.half for each in means],
                color=page.COLOURS[at],
                label=rule,
                error_kw={"lw": 0.8},
            )
        axis.set_xticks(range(len(SIZES)), [f"{nodes} nodes\n{tasks} tasks" for nodes, tasks in SIZES])
        axis.set_title("every task 1 s" if times == "fixed" else "times proportional to need")
        axis.set_ylabel("mean wait, s")
    for name, (wait, _) in PUBLISHED.items():
        axes[1].plot(
            [2.55, 3.45],
            [wait, wait],
            color="black",
            lw=1,
            ls="-" if name == "fifo" else "--",
            label=f"published: {name}",
        )
    axes[1].legend(fontsize=7)
    return page.picture(
        "orchestration", figure, "Mean wait under each rule, beside the bound and the published figures"
    )
