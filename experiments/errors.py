"""Wrong answers and what it costs to have none: the hub's rules beside BOINC's and beside an oracle.

Each cell is a crowd under a rule. A run is a first job, in which nodes become known, and a second one, which is counted.
"Kept" means that the 95 % upper bound (Clopper–Pearson) of the share of wrong answers is at most ε, over at least 3/ε
accepted tasks, when they were first delivered and when their job was final. The cells of 10⁻⁶ are pooled over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.report import markdown_table, number
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.outcome import upper_bound
from experiments import boinc, oracle, page, runs
from experiments.crowds import MIXED, NODES, Crowd, Kind, mixed_with, steady

COLLISION: Final = 1e-6  # a job's default: digests
HONEST_THIRDS: Final = Crowd("a third err, 0.6 %", (Kind("volunteers", 1.0, MIXED),))
STEADY: Final = tuple(steady(rate) for rate in (0.0022, 0.01, 0.05, 0.20))
SABOTEURS: Final = tuple(
    mixed_with(f"{share:.0%} liars".replace("%", " %"), share, s.Liar(1.0)) for share in (0.06, 0.1, 0.2)
)
ADVERSARIES: Final = (
    mixed_with("liars in half", 0.1, s.Liar(0.5)),
    mixed_with("liars in a tenth", 0.1, s.Liar(0.1)),
    mixed_with("liars in a fiftieth", 0.1, s.Liar(0.02)),
    mixed_with("sleepers, then half", 0.1, s.Sleeper(after=600, share=0.5)),
    mixed_with("sleepers, then a tenth", 0.1, s.Sleeper(after=600, share=0.1)),
    mixed_with("colluders, in all", 0.1, s.Colluder(1.0)),
    mixed_with("colluders, in a tenth", 0.1, s.Colluder(0.1)),
    mixed_with("one owner's ring", 0.1, s.Colluder(0.1), owners=1),
    mixed_with("copiers", 0.1, s.Copier()),
    mixed_with("free riders", 0.1, s.FreeRider()),
    mixed_with("boasters", 0.1, s.Inflater()),
    mixed_with("leavers", 0.1, s.Leaver()),
)
QUESTIONS: Final = (
    Crowd("all err, 5 %, 10 wrong answers", steady(0.05).kinds, 10),
    Crowd("all err, 5 %, yes or no", steady(0.05).kinds, 1),
)
SEVERE: Final = (HONEST_THIRDS, SABOTEURS[1], STEADY[1])
WITHOUT_ORACLE: Final = (s.Sleeper, s.Copier, s.FreeRider, s.Leaver)  # their errors are not chance that is known before


@dataclass(frozen=True)
class Rule:
    """As a submitter writes it. `bound`: ε, 0 where none is promised."""

    name: str
    consensus: str
    overlap: int = 1
    bound: float = 0.0


MAJORITIES: Final = (Rule("majority, 2 agree", "majority", 3), Rule("majority, 3 agree", "majority", 5))
WEIGHTED: Final = Rule("trust_weighted, 3", "trust_weighted", 3)
BOUNDED: Final = (
    Rule("bounded_error 10⁻³", "bounded_error", bound=1e-3),
    Rule("bounded_error 10⁻⁴", "bounded_error", bound=1e-4),
)
UTMOST: Final = Rule("bounded_error 10⁻⁶", "bounded_error", bound=1e-6)


@dataclass(frozen=True)
class Run:
    """One run of a cell."""

    crowd: Crowd
    rule: Rule
    warm: int
    tasks: int
    seed: int


@dataclass(frozen=True)
class Found:
    """Of the second job; `warm`: executions a task of the first one."""

    warm: float
    leased: int
    tasks: int
    first: int
    final: int


def scenario_of(run: Run) -> s.Scenario:
    """The run as the simulator has it."""
    wrong = run.crowd.wrong_answers
    rule = run.rule

    def job(name: str, tasks: int, at_s: float) -> s.Jobs:
        return s.Jobs(
            name, tasks, unit_ms=1000.0, at_s=at_s, consensus=rule.consensus, overlap=rule.overlap,  # type: ignore[arg-type]
            error_bound=rule.bound or 1e-3, wrong_answers=wrong, collision=1 / wrong if wrong else COLLISION,
        )  # fmt: skip

    warm_s = 4.0 * run.warm / NODES + 60.0
    return s.Scenario(
        about=f"{run.crowd.name}, {rule.name}",
        crowd=run.crowd.tables(),
        jobs=(job("first", run.warm, 5.0), job("second", run.tasks, warm_s)),
        run=s.Run(hours=1e5, check_every=10**7, starve_s=3600.0),
        network=s.Network(delay_ms=(5, 20)),
    )


def simulated(run: Run) -> Found:
    """What came of a run."""
    outcome = runs.run(scenario_of(run), run.seed)
    first, second = outcome.jobs
    return Found(first.executions, second.leased, second.tasks, second.wrong_first, second.wrong_final)


def runs_of(crowd: Crowd, rule: Rule, *, quick: bool) -> list[Run]:
    """The runs of a cell: of at least 3/ε counted tasks, and of enough for the executions to three digits."""
    share = 10 if quick else 1
    if rule is UTMOST:
        return [Run(crowd, rule, 80_000, 800_000 // share, seed) for seed in range(1, 5)]
    if rule.bound == 1e-4:
        return [Run(crowd, rule, 40_000, 60_000 // share, seed) for seed in (1, 2)]
    if rule.bound:
        return [Run(crowd, rule, 10_000, 20_000 // share, seed) for seed in (1, 2, 3, 4)]
    return [Run(crowd, rule, 2_000, 20_000 // share, seed) for seed in (1, 2)]


@dataclass(frozen=True)
class Cell:
    """A crowd under a rule, all runs together."""

    crowd: Crowd
    rule: Rule
    warm: float
    executions: float
    oracle: float  # 0 where there is none
    tasks: int
    first: int
    final: int

    def kept(self) -> str:
        """Whether ε was, when first delivered and when final."""
        bound = self.rule.bound
        if not bound:
            return ""
        if self.tasks < 3 / bound:
            return "too few tasks"
        first, final = (upper_bound(wrong, self.tasks) <= bound for wrong in (self.first, self.final))
        return "yes" if first and final else "when final" if final else "no"

    def row(self) -> list[str]:
        ratio = f"{self.executions / self.oracle:.3f}" if self.oracle else ""
        counts = [f"{wrong:,} (≤ {100 * upper_bound(wrong, self.tasks):.2g} %)" for wrong in (self.first, self.final)]
        cost = [f"{self.warm:.3f}", f"{self.executions:.3f}", f"{self.oracle:.3f}" if self.oracle else "", ratio]
        return [self.crowd.name, self.rule.name, *cost, f"{self.tasks:,}", *counts, self.kept()]


HEAD: Final = [
    "crowd", "rule", "runs a task, at first", "then", "oracle", "ratio", "tasks counted", "wrong when first delivered", "wrong when final", "ε kept",
]  # fmt: skip


def measure(*, quick: bool) -> list[str]:
    plain = (*MAJORITIES, WEIGHTED, *BOUNDED)
    groups = {
        "Nodes that err by chance": [(crowd, rule) for crowd in (HONEST_THIRDS, *STEADY) for rule in plain],
        "Saboteurs": [(crowd, rule) for crowd in SABOTEURS for rule in plain],
        "Every adversary, one node in ten": [
            (crowd, rule) for crowd in ADVERSARIES for rule in (MAJORITIES[0], BOUNDED[0])
        ],
        "When wrong answers are equal": [(crowd, rule) for crowd in QUESTIONS for rule in (*MAJORITIES, *BOUNDED)],
        "One in a million": [(crowd, UTMOST) for crowd in SEVERE],
    }
    wanted = [run for pairs in groups.values() for crowd, rule in pairs for run in runs_of(crowd, rule, quick=quick)]
    wanted.sort(key=lambda run: run.tasks, reverse=True)  # the long ones first, so that no core waits for one
    found = dict(zip(wanted, runs.each(simulated, wanted), strict=True))
    parts = [_opponent()]
    cells: list[Cell] = []
    for title, pairs in groups.items():
        here = [_cell(crowd, rule, [found[run] for run in runs_of(crowd, rule, quick=quick)]) for crowd, rule in pairs]
        cells += here
        rows = [row for cell in here for row in (cell.row(), *_beside(cell, last=cell.rule is here[-1].rule))]
        parts += [f"### {title}", markdown_table(HEAD, rows)]
    return [_verdict(cells), *parts, _picture(cells)]


def _cell(crowd: Crowd, rule: Rule, found: list[Found]) -> Cell:
    tasks = sum(each.tasks for each in found)
    known = rule.bound and not any(isinstance(kind.behaviour, WITHOUT_ORACLE) for kind in crowd.kinds)
    collision = 1 / crowd.wrong_answers if crowd.wrong_answers else COLLISION
    return Cell(
        crowd,
        rule,
        sum(each.warm for each in found) / len(found),
        sum(each.leased for each in found) / tasks,
        oracle.executions(crowd, rule.bound, collision) if known else 0.0,
        tasks,
        sum(each.first for each in found),
        sum(each.final for each in found),
    )


def _beside(cell: Cell, *, last: bool) -> list[list[str]]:
    """BOINC's rule on the same crowd, after the last of ours."""
    unknown = (s.Copier, s.FreeRider, s.Inflater, s.Leaver)
    if not last or cell.rule is UTMOST or any(isinstance(kind.behaviour, unknown) for kind in cell.crowd.kinds):
        return []
    warm, tasks = 10_000, 200_000
    theirs = boinc.run(cell.crowd, warm, tasks, seed=1)
    wrong = f"{theirs.wrong:,} (≤ {100 * upper_bound(theirs.wrong, theirs.tasks):.2g} %)"
    return [
        [cell.crowd.name, "BOINC, adaptive", "", f"{theirs.executions:.3f}", "", "", f"{tasks:,}", wrong, wrong, ""]
    ]


def _opponent() -> str:
    """BOINC's rule, as it is here, beside the published table."""
    rows = []
    for rate, (executions, wrong) in boinc.PUBLISHED.items():
        many = [boinc.alone(rate, 20_000, seed) for seed in range(1, 51)]
        ours = sum(each.executions for each in many) / len(many)
        accepted = sum(each.wrong for each in many) / sum(each.tasks for each in many)
        rows.append(
            [f"{100 * rate:g} %", f"{ours:.3f}", f"{executions:.3f}", f"{100 * accepted:.2f} %", f"{100 * wrong:.2f} %"]
        )
    head = ["host errs", "runs a task, here", "as told before", "wrong accepted, here", "as told before"]
    return "### The opponent, checked\n\n" + markdown_table(head, rows)


def _verdict(cells: list[Cell]) -> str:
    promised = [cell for cell in cells if cell.rule.bound]
    lost = [f"{cell.crowd.name} ({cell.rule.name}: {cell.kept()})" for cell in promised if cell.kept() != "yes"]
    dear = [
        f"{cell.crowd.name} ({cell.rule.name}: {cell.executions / cell.oracle:.3f})"
        for cell in promised
        if cell.oracle and cell.executions > 1.10 * cell.oracle
    ]
    standing = sum(cell.final for cell in promised if "sleepers" in cell.crowd.name)
    return "\n".join((
        f"- ε kept in {len(promised) - len(lost)} of {len(promised)} cells; not, or not at once: {'; '.join(lost) or 'none'}.",
        f"- Cells that cost more than 1.10 times the oracle's runs: {'; '.join(dear) or 'none'}.",
        f"- Wrong answers that stand after sleepers, all cells together: {number(standing)}.",
    ))  # fmt: skip


def _picture(cells: list[Cell]) -> str:
    figure, (axis,) = page.canvas(size=(8.0, 4.5))
    marks = {"majority": "s", "trust_weighted": "^", "bounded_error": "o"}
    named = dict.fromkeys(cell.rule.name for cell in cells)
    for colour, name in zip(page.COLOURS, named, strict=False):
        here = [cell for cell in cells if cell.rule.name == name]
        least = [max(cell.final / cell.tasks, 3e-7) for cell in here]
        axis.scatter(
            [cell.executions for cell in here],
            least,
            s=22,
            color=colour,
            marker=marks[here[0].rule.consensus],
            label=name,
        )
        if here[0].rule.bound:
            axis.axhline(here[0].rule.bound, color=colour, lw=0.7, ls="--")
    theirs = [boinc.run(crowd, 10_000, 100_000, seed=1) for crowd in (HONEST_THIRDS, *STEADY, *SABOTEURS)]
    axis.scatter(
        [each.executions for each in theirs],
        [max(each.wrong / each.tasks, 3e-7) for each in theirs],
        s=28,
        color="black",
        marker="x",
        label="BOINC, adaptive",
    )
    axis.set_yscale("log")
    axis.set_xlabel("runs a task, when nodes are known")
    axis.set_ylabel("share of final answers that are wrong\n(none at all is drawn at 3·10⁻⁷)")
    axis.legend(fontsize=7)
    return page.picture("errors", figure, "Each crowd under each rule: what it costs and how many wrong answers stand")
