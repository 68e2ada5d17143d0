"""What the demonstration shows while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from crowdgrid.cli.showing import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Stage(Protocol):
    """One act after the other, each with a title and a share done; words in between."""

    def act(self, title: str) -> None:
        """A new act begins."""
        ...

    def at(self, share: float, text: str) -> None:
        """The act is so far, 0 to 1."""
        ...

    def say(self, text: str) -> None:
        """Something happened."""
        ...


class Bars:
    """On a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def act(self, title: str) -> None:
        self._task = self._progress.add_task(title, total=1.0, text="")

    def at(self, share: float, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=share, text=text)

    def say(self, text: str) -> None:
        self._progress.console.print(text)


class Lines:
    """Where nobody looks on: a line for each tenth. `quiet`: none at all."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._title = ""
        self._tenth = 0
        self._began = time.monotonic()

    def act(self, title: str) -> None:
        self._title, self._tenth = title, 0
        self.say(title)

    def at(self, share: float, text: str) -> None:
        if int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            self.say(f"{self._title}: {self._tenth * 10} %, {text}")

    def say(self, text: str) -> None:
        if not self._quiet:
            click.echo(f"{time.monotonic() - self._began:6.1f} s  {text}")


@contextmanager
def stage(*, quiet: bool = False) -> Iterator[Stage]:
    """The stage for where standard output goes."""
    if quiet or not sys.stdout.isatty():
        yield Lines(quiet=quiet)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    # A narrow terminal shortens the bar, never a number.
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(table_column=whole),
        TextColumn("{task.fields[text]}"),
    )  # fmt: skip
    with Progress(*columns, console=console()) as progress:
        yield Bars(progress)
