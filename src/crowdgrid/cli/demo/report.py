"""What the demonstration came to, as a table for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import click

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
    seconds: float

    @property
    def right(self) -> bool:
        """Whether every answer is right and everything recovered in time."""
        return all(search.right for search in self.searches) and self.count.right and self.trees.right

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        searches = [asdict(search) | {"right": search.right} for search in self.searches]
        return {
            "right": self.right,
            "seconds": self.seconds,
            "searches": searches,
            "count": asdict(self.count) | {"right": self.count.right},
            "trees": asdict(self.trees) | {"speed_up": self.trees.speed_up, "right": self.trees.right},
        }

    def show(self) -> None:
        """Print it."""
        click.echo()
        _numbers(
            ("job", "answer", "expected", "tasks", "tasks/s", "seconds"),
            [*map(_of_search, self.searches), _of_count(self.count), _of_trees(self.trees)],
        )
        _numbers(
            ("Python function", "files", "files/s", "seconds", "here alone", "speed-up", "every kind the same"),
            [_against_here(self.trees)],
        )
        _numbers(("node", "tasks", "share"), _shares(self))
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
    for search in report.searches:
        total.update(search.by_node)
    whole = max(1, sum(total.values()))
    return [(name, tasks, f"{tasks / whole:.1%}") for name, tasks in sorted(total.items())]


def _answer(found: int | None, right: bool) -> str:
    return f"{'✓' if right else '✗'} {'none' if found is None else f'{found:,}'}"


def _yes(right: bool) -> str:
    return "yes" if right else "NO"
