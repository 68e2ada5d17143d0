"""What was measured, as Markdown: every figure beside its goal and beside what others need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.machine import Machine

HEAD = """\
# Benchmarks

Written by `make bench`; how each figure is made is told in `benchmarks/README.md`. Real processes, signed reports,
SQLite with `synchronous=FULL`, no mocks. Nothing here is asserted by a test: a figure is worth what the machine
was, and how quiet.
"""


@dataclass(frozen=True)
class Goal:
    """A figure to reach: at least or at most `limit`."""

    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Goal:
    return Goal(limit, True)


def at_most(limit: float) -> Goal:
    return Goal(limit, False)


@dataclass(frozen=True)
class Figure:
    """One figure. `others`: what the anchors say of others, or of our first sketch."""

    what: str
    value: float
    unit: str = ""
    goal: Goal | None = None
    others: str = ""

    @property
    def missed(self) -> bool:
        return self.goal is not None and not self.goal.met(self.value)

    def row(self) -> list[str]:
        goal = ""
        if self.goal is not None:
            sign = "≥" if self.goal.at_least else "≤"
            goal = f"{sign} {self._told(self.goal.limit)}: {'missed' if self.missed else 'reached'}"
        return [self.what, self._told(self.value), goal, self.others]

    def _told(self, value: float) -> str:
        return f"{number(value)} {self.unit}".rstrip()


@dataclass
class Table:
    head: Sequence[str]
    rows: list[list[str]]


@dataclass
class Section:
    """What one measurement found. `profile`: where the time goes, given when a goal is missed."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    profile: str = ""

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.missed]


def number(value: float) -> str:
    """Three digits that mean something, thousands apart; what is exact stays so."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) >= 0.0001 or not value else f"{value:.1e}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns after the first are set to the right when all of their cells begin with a digit or are empty."""
    numeric = [all(not row[at] or row[at][0].isdigit() for row in rows) for at in range(len(head))]
    rule = ["---:" if right and at else "---" for at, right in enumerate(numeric)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def section_text(section: Section) -> str:
    parts = [f"## {section.title}", section.text.strip()]
    if section.figures:
        rows = [figure.row() for figure in section.figures]
        columns = [at for at in range(4) if at < 2 or any(row[at] for row in rows)]
        head = ("", "here", "goal", "others")
        parts.append(markdown_table([head[at] for at in columns], [[row[at] for at in columns] for row in rows]))
    parts += [markdown_table(table.head, table.rows) for table in section.tables]
    if section.profile:
        parts.append("Where the time goes:\n\n```text\n" + section.profile.strip() + "\n```")
    return "\n\n".join(part for part in parts if part)


def document(machine: Machine, sections: Sequence[Section], *, quick: bool, took: float) -> str:
    """The whole of `docs/benchmarks.md`."""
    missed = [f"{section.title}: {figure.what}" for section in sections for figure in section.missed]
    verdict = "Every goal is reached." if not missed else "Missed: " + "; ".join(missed) + "."
    how = " This was a short run (`--quick`): fewer rows, shorter loads." if quick else ""
    told = f"{machine.told()} Measured in {took / 60:.1f} minutes.{how}"
    body = "\n\n".join(section_text(section) for section in sections)
    return f"{HEAD}\n{told}\n\n{verdict}\n\n{body}\n"
