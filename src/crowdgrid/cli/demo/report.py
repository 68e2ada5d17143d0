"""What the demonstration came to, as a table for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import click

from crowdgrid.cli.demo.primes import Count
from crowdgrid.cli.demo.search import Search
from crowdgrid.cli.showing import table


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured."""

    searches: list[Search]
    count: Count
    seconds: float

    @property
    def right(self) -> bool:
        """Whether every answer is right and everything recovered in time."""
        return all(search.right for search in self.searches) and self.count.right

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        searches = [asdict(search) | {"right": search.right} for search in self.searches]
        return {
            "right": self.right,
            "seconds": self.seconds,
            "searches": searches,
            "count": asdict(self.count) | {"right": self.count.right},
        }

    def show(self) -> None:
        """Print it."""
        click.echo()
        titles = ("job", "answer", "expected", "tasks", "tasks/s", "seconds")
        table(titles, [*map(_of_search, self.searches), _of_count(self.count)], right=titles[1:])
        table(("node", "tasks", "share"), _shares(self), right=("tasks", "share"))
        table(
            ("killed with SIGKILL", "at", "tasks leased", "recovered after", "in time"),
            [
                (kill.what, f"{kill.at:.0%}", kill.held, f"{kill.seconds:.1f} s", _yes(kill.right))
                for kill in self.count.kills
            ],
            right=("at", "tasks leased", "recovered after", "in time"),
        )
        said = "Everything is right" if self.right else "SOMETHING IS WRONG"
        click.secho(f"{said}; {self.seconds:.1f} s in all.", fg="green" if self.right else "red")


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


def _shares(report: Report) -> list[tuple[object, ...]]:
    total: Counter[str] = Counter(report.count.by_node)
    for search in report.searches:
        total.update(search.by_node)
    whole = max(1, sum(total.values()))
    return [(name, tasks, f"{tasks / whole:.1%}") for name, tasks in sorted(total.items())]


def _answer(found: int | None, right: bool) -> str:
    return f"{'✓' if right else '✗'} {'none' if found is None else f'{found:,}'}"


def _yes(right: bool) -> str:
    return "yes" if right else "NO"
