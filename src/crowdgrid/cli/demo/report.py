"""What the demonstration came to, as a table for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import click

from crowdgrid.cli.demo.cheating import TRIED, Cheated
from crowdgrid.cli.demo.kill import Kill
from crowdgrid.cli.demo.primes import Count
from crowdgrid.cli.demo.search import Search
from crowdgrid.cli.demo.trees import Trees
from crowdgrid.cli.showing import table


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured."""

    searches: list[Search]
    count: Count
    trees: Trees
    cheated: Cheated
    seconds: float

    @property
    def right(self) -> bool:
        """Whether every answer is right, everything recovered in time, and cheating came to nothing."""
        searches = all(search.right for search in self.searches)
        return searches and self.count.right and self.trees.right and self.cheated.right

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        searches = [asdict(search) | {"right": search.right} for search in self.searches]
        return {
            "right": self.right,
            "seconds": self.seconds,
            "searches": searches,
            "count": asdict(self.count) | {"right": self.count.right},
            "trees": asdict(self.trees) | {"speed_up": self.trees.speed_up, "right": self.trees.right},
            "cheated": asdict(self.cheated) | {"right": self.cheated.right},
        }

    def show(self) -> None:
        """Print it."""
        click.echo()
        _numbers(
            ("job", "answer", "expected", "tasks", "tasks/s", "seconds"),
            [
                *map(_of_search, self.searches),
                _of_count(self.count),
                _of_trees(self.trees),
                _of_strangers(self.cheated),
            ],
        )
        _numbers(
            ("Python function", "files", "files/s", "seconds", "here alone", "speed-up", "every kind the same"),
            [_against_here(self.trees)],
        )
        _numbers(("node", "tasks", "share"), _shares(self))
        table(("what the dishonest agent tried", "times", "the hub said", "what came of it"), _deeds(self.cheated),
              right=("times",))  # fmt: skip
        kills = [_of_kill(kill, "tasks") for kill in self.count.kills]
        kills += [_of_kill(kill, "call") for kill in self.trees.kills]
        _numbers(("killed with SIGKILL", "at", "it held", "recovered after", "in time"), kills)
        said = "Everything is right" if self.right else "SOMETHING IS WRONG"
        click.secho(f"{said}; {self.seconds:.1f} s in all.", fg="green" if self.right else "red")


def _numbers(titles: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    table(titles, rows, right=titles[1:])


def _of_search(search: Search) -> tuple[object, ...]:
    return (
        f"nonce of block {search.block.height:,}",
        _answer(search.found, search.right),
        search.block.nonce,
        search.tasks,
        f"{search.tasks / search.seconds:,.0f}",
        f"{search.seconds:.1f}",
    )


def _of_count(count: Count) -> tuple[object, ...]:
    return (
        f"primes below {count.below:,}",
        _answer(count.answer, count.answer == count.expected),
        count.expected if count.expected is not None else "not known",
        count.tasks,
        f"{count.tasks / count.seconds:,.0f}",
        f"{count.seconds:.1f}",
    )


def _of_trees(trees: Trees) -> tuple[object, ...]:
    return (
        "nodes of syntax trees",
        _answer(trees.nodes, trees.nodes == trees.expected),
        trees.expected,
        trees.tasks,
        f"{trees.tasks / trees.seconds:,.0f}",
        f"{trees.seconds:.1f}",
    )


def _of_strangers(cheated: Cheated) -> tuple[object, ...]:
    wrong = next((answer for answer in cheated.answers if answer != cheated.expected), cheated.expected)
    return (
        f"primes among strangers, {cheated.votes / max(1, cheated.tasks):.1f} votes a task",
        _answer(wrong if cheated.answers else None, bool(cheated.answers) and wrong == cheated.expected),
        cheated.expected,
        cheated.tasks,
        f"{cheated.tasks / max(cheated.seconds, 0.1):,.0f}",
        f"{cheated.seconds:.1f}",
    )


def _deeds(cheated: Cheated) -> list[tuple[object, ...]]:
    first, most, last = cheated.trust
    came = {
        "lie": f"{cheated.standing} are in the answers; its trust rose from {first:.1f} to {most:.1f}, and is {last:.1f}",
        "contradict": "the first one counts, and trust falls",
        "inflate": "the answer counts; credit goes by what several say it took",
    }
    return [
        (
            told,
            cheated.tried.get(deed, 0),
            ", ".join(f"{verdict} {times:,}" for verdict, times in sorted(cheated.said.get(deed, {}).items())),
            came.get(deed, "nothing"),
        )
        for deed, (told, _) in TRIED.items()
    ]


def _against_here(trees: Trees) -> tuple[object, ...]:
    return (
        "syntax trees of the standard library",
        trees.files,
        f"{trees.files / trees.seconds:,.0f}",
        f"{trees.seconds:.1f}",
        f"{trees.here_seconds:.1f}",
        f"{trees.speed_up:.1f} ×",
        _yes(trees.nodes is not None and not trees.differing),
    )


def _of_kill(kill: Kill, of: str) -> tuple[object, ...]:
    recovered = f"{kill.seconds:.1f} s" if kill.seconds >= 0 else "never"
    return kill.what, f"{kill.at:.0%}", f"{kill.held:,} {of}", recovered, _yes(kill.right)


def _shares(report: Report) -> list[tuple[object, ...]]:
    total: Counter[str] = Counter(report.count.by_node)
    total.update(report.trees.by_node)
    total.update(report.cheated.by_node)
    for search in report.searches:
        total.update(search.by_node)
    whole = max(1, sum(total.values()))
    return [(name, tasks, f"{tasks / whole:.1%}") for name, tasks in sorted(total.items())]


def _answer(found: int | None, right: bool) -> str:
    return f"{'✓' if right else '✗'} {'none' if found is None else f'{found:,}'}"


def _yes(right: bool) -> str:
    return "yes" if right else "NO"
