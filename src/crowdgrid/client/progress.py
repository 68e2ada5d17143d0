"""A job's progress shown to a person: one bar on a terminal, nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from crowdgrid.core.model import Counts

if TYPE_CHECKING:
    from crowdgrid.client.job import Job, Progress
    from crowdgrid.client.joblink import JobLink

Wanted: TypeAlias = bool | Callable[[Counts], None] | Any | None


@contextmanager
def shown(job: Job, progress: Progress) -> Iterator[Callable[[Counts], None] | None]:
    """What is to be called with the job's counters while the block runs; None for nobody."""
    if callable(progress):
        yield progress
    elif not progress or not sys.stderr.isatty():
        yield None
    else:
        with bar(job.name or job.id) as update:
            yield update


@contextmanager
def bar(title: str) -> Iterator[Callable[[Counts], None]]:
    """A progress bar on standard error, moved by calling what this gives with the counters."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[tasks]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=False) as display:
        task = display.add_task(title, total=None, tasks="")

        def update(counts: Counts) -> None:
            tasks = f"{counts.in_progress:,} tasks running" + (f", {counts.errors:,} errors" if counts.errors else "")
            display.update(task, total=counts.units or None, completed=counts.units_done, tasks=tasks)

        yield update


@contextmanager
def showing(title: str, wanted: Wanted, job: JobLink) -> Iterator[Callable[[int], None]]:
    """What is to be called with the number of results taken while a map is iterated.

    `wanted`: see `Function.map`.
    """
    if wanted is None or wanted is True:
        wanted = sys.stderr.isatty()
    if not wanted:
        yield lambda taken: None
    elif hasattr(wanted, "update"):
        yield from _tqdm(wanted, job)
    elif callable(wanted):
        yield lambda taken: wanted(job.info.counts)
    else:
        with bar(title) as update:
            yield lambda taken: update(job.info.counts)


def _tqdm(wanted: Any, job: JobLink) -> Iterator[Callable[[int], None]]:
    shown = wanted() if isinstance(wanted, type) else wanted
    last = 0

    def moved(taken: int) -> None:
        nonlocal last
        shown.total = job.info.counts.units
        shown.update(taken - last)
        last = taken

    try:
        yield moved
    finally:
        shown.close()
