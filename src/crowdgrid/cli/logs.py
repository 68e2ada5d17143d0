"""`crowdgrid jobs logs`: what a job's runs printed, and how those failed that did."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from crowdgrid.cli.reach import Hub, grid, hub_options, json_option, part
from crowdgrid.cli.showing import print_json, printable
from crowdgrid.client import background
from crowdgrid.client.joblink import WINDOW_ROWS, JobLink
from crowdgrid.errors import BadInput
from crowdgrid.protocol import messages as m

NODE_CHARS: Final = 12
PAGE: Final = 1000
EPILOG = """
\b
Examples:
  crowdgrid jobs logs squares
  crowdgrid jobs logs squares --errors        only what failed
  crowdgrid jobs logs squares --follow        as it happens, until the job has ended
  crowdgrid jobs logs squares --json | jq -r '.errors[].unit'

\b
A unit is one element of the input, counted from 0; a task holds one or several of them, each a call of the function.
Of each task the end of what one call printed is kept, of the first that failed or else of the last; and of each call
that failed its traceback.
"""


@click.command(epilog=EPILOG)
@click.argument("job")
@click.option("--errors", "only_errors", is_flag=True, help="Leave out what runs printed.")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=20, show_default=True)
@click.option("--after", type=int, default=-1, help="The page after: what the last one said.")
@json_option
@hub_options
def logs(
    job: str,
    only_errors: bool,
    follow: bool,
    limit: int,
    after: int,
    as_json: bool,
    hub: str | None,
    token: str | None,
) -> None:
    """What the runs of a JOB printed, and what went wrong, in the order of the input."""
    reached = Hub(hub, token)
    if follow:
        if as_json:
            raise BadInput("--follow prints lines for people.", hint="Leave out --json.")
        with grid(hub, token) as connected:
            found = connected.job(job)
            _follow(reached, found.link, only_errors)
        return
    page = _page(reached, job, after, limit, only_errors)
    if as_json:
        print_json(page)
        return
    _print(page)
    if "next" in page:
        click.echo(f"There are more: --after {page['next']}", err=True)
    elif not page["errors"] and not page["logs"]:
        said = "Nothing went wrong" if only_errors else "Nothing was printed and nothing went wrong"
        click.echo(f"{said}{'.' if after < 0 else ' after that.'}")


def _page(hub: Hub, job: str, after: int, limit: int, only_errors: bool) -> dict[str, Any]:
    """Errors and logs of the same tasks: as far as both are told."""
    errors = hub.get(f"/v1/jobs/{part(job)}/errors", limit=limit, after=after)
    logs = {"logs": []} if only_errors else hub.get(f"/v1/jobs/{part(job)}/logs", limit=limit, after=after)
    ends = [page["next"] for page in (errors, logs) if "next" in page]
    if not ends:
        return {**errors, **logs}
    end = min(ends)
    return {
        "errors": [each for each in errors["errors"] if each["ordinal"] <= end],
        "logs": [each for each in logs["logs"] if each["ordinal"] <= end],
        "next": end,
    }


# --- for people --------------------------------------------------------------------------------------


def _print(page: dict[str, Any], only: set[int] | None = None) -> None:
    """Tasks in order: what they printed, then what failed of them. `only`: of these tasks."""
    printed = {each["ordinal"]: each for each in page["logs"]}
    failed: dict[int, list[dict[str, Any]]] = {}
    for error in page["errors"]:
        failed.setdefault(error["ordinal"], []).append(error)
    for ordinal in sorted(printed.keys() | failed.keys()):
        if only is not None and ordinal not in only:
            continue
        errors = failed.get(ordinal, [])
        if ordinal in printed:
            _print_log(printed[ordinal])
        for error in errors:
            _print_error(error, with_stderr=ordinal not in printed)


def _print_log(log: dict[str, Any]) -> None:
    units = _units(log["start"], log["stop"])
    click.echo(f"task {log['ordinal']:,}, {units}{_on(log['node'])} printed:")
    _indented(log["text"])


def _print_error(error: dict[str, Any], *, with_stderr: bool) -> None:
    unit = f", unit {error['unit']:,}" if error["unit"] >= 0 else ""
    where = f"task {error['ordinal']:,}{unit}"
    click.secho(f"{where}{_on(error['node'])}: {printable(error['error'])}", fg="red")
    _indented(error.get("traceback", ""))
    if with_stderr:
        _indented(error["stderr"])


def _units(start: int, stop: int) -> str:
    return f"unit {start:,}" if stop - start == 1 else f"units {start:,} to {stop - 1:,}"


def _on(node: str) -> str:
    return f" on node …{printable(node[-NODE_CHARS:])}" if node else ""


def _indented(text: str) -> None:
    for line in printable(text).splitlines():
        click.echo(f"    {line}")


# --- as it happens -----------------------------------------------------------------------------------


class Settling:
    """The ordinals of a job's tasks as they settle."""

    def __init__(self, job: JobLink) -> None:
        self._job = job
        self._came: list[int] = []
        self._count = 0
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Begin to read."""
        self._job.watchers.append(self._news.set)
        self._job.read(self._arrived)

    def _arrived(self, rows: Sequence[m.ResultRow]) -> None:
        self._came += [row.ordinal for row in rows]
        self._count += len(rows)
        self._news.set()

    async def take(self) -> list[int]:
        """Those that settled since, at least one; none when there will be no more. Raises CrowdgridError."""
        while not self._came:
            counts = self._job.info.counts
            if self._job.failure is not None:
                raise self._job.failure
            if self._job.ended and self._count >= counts.validated + counts.split + counts.abandoned:
                return []
            self._news.clear()
            await self._news.wait()
        taken, self._came = self._came[:WINDOW_ROWS], self._came[WINDOW_ROWS:]
        self._job.grant(len(taken))
        return sorted(taken)


def _follow(hub: Hub, job: JobLink, only_errors: bool) -> None:
    settling = Settling(job)
    background.run(settling.start())
    while settled := background.run(settling.take()):
        for page in _pages(hub, job.id, settled, only_errors):
            _print(page, set(settled))


def _pages(hub: Hub, job: str, settled: list[int], only_errors: bool) -> Iterator[dict[str, Any]]:
    """Errors and logs from the first to the last of these tasks."""
    after: int | None = settled[0] - 1
    while after is not None and after < settled[-1]:
        page = _page(hub, job, after, min(PAGE, settled[-1] - after), only_errors)
        yield page
        after = page.get("next")
