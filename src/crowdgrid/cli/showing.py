"""Answers on the terminal: tables for people, JSON for programs, numbers and times as people read them."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from crowdgrid.client.saying import printable, span

__all__ = ["ago", "bytes_text", "console", "escaped", "facts", "print_json", "printable", "share", "span", "table"]

if TYPE_CHECKING:
    from rich.console import Console

_ANY_WIDTH: Final = 10_000  # columns
# Beside what `json` escapes itself, those below a space.
_OBEYED: Final = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(escaped(json.dumps(value, indent=2, ensure_ascii=False)))


def escaped(document: str) -> str:
    """JSON with what a terminal would obey in its texts escaped, which is the same to who reads it."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def console(*, err: bool = False) -> Console:
    """A rich console; colours only on a terminal. A pipe gets lines that are not wrapped."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print rows under titles; those named in `right` are numbers: set to the right and never broken into two lines.

    Where the terminal is too narrow for the longest words each row is shown as `facts`: nothing is cut.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        number = title in right
        shown.add_column(title, justify="right" if number else "left", overflow="fold", no_wrap=number)
    screen = console()
    all_rows = list(rows)
    for row in all_rows:
        shown.add_row(*[_cell(value) for value in row])
    if Measurement.get(screen, screen.options.update(width=_ANY_WIDTH), shown).minimum <= screen.width:
        screen.print(shown)
        return
    for row in all_rows:
        click.echo()
        facts(zip(titles, row, strict=True))


def _cell(value: object) -> str:
    from rich.markup import escape

    return f"{value:,}" if isinstance(value, int) else escape(printable(str(value)))


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line; empty values are left out."""
    told = [(printable(name), value) for name, value in pairs if value not in ("", None, (), [])]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{name:<{width}}  {f'{value:,}' if type(value) is int else printable(str(value))}")


def ago(ms: int) -> str:
    """How long ago, for people."""
    return f"{span(max(0.0, time.time() - ms / 1000))} ago" if ms else "never"


def bytes_text(count: int) -> str:
    """A size for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def share(done: int, total: int) -> str:
    """A share in per cent."""
    return f"{100 * done / total:.0f} %" if total else "–"
