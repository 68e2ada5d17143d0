"""What a notebook shows of a grid, a job, a map and a function: a small table, and how to go on.

The same facts as text, for a console. Nothing is coloured and nothing runs: a theme's own colours stay, dark or light,
and what others named is text. What has to be asked for is asked for a moment only; a hub that is away is said to be.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crowdgrid.client import background, saying
from crowdgrid.client.options import Options
from crowdgrid.client.programs import function_name
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import UNSANDBOXED, Counts
from crowdgrid.errors import CrowdgridError

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection
    from crowdgrid.client.joblink import JobLink
    from crowdgrid.client.progress import Standing

ASK_SECONDS: Final = 2.0
JOBS_SHOWN: Final = 5
ERRORS_SHOWN: Final = 3
CELL_CHARS: Final = 200
_CELL: Final = ' style="text-align:left;vertical-align:top;padding:0.15em 1em 0.15em 0"'

Bundle = dict[str, str]


class Card(msgspec.Struct, frozen=True):
    """What is shown of one thing.

    Attributes:
        title: one line. bar: units done and how many there are. facts: names and values; empty ones are left out.
        titles, rows: a table below. more: how to go on, as code.
    """

    title: str
    facts: tuple[tuple[str, object], ...] = ()
    bar: tuple[int, int] | None = None
    titles: tuple[str, ...] = ()
    rows: tuple[Sequence[object], ...] = ()
    more: tuple[str, ...] = ()

    def bundle(self) -> Bundle:
        """As `_repr_mimebundle_` gives it."""
        return {"text/plain": self.text(), "text/html": self.html()}

    def text(self) -> str:
        """As lines."""
        lines = [_said(self.title), *_columns([(_said(name), _said(value)) for name, value in self._facts])]
        if self.rows:
            lines += ["", *_columns([[_said(cell) for cell in row] for row in (self.titles, *self.rows)])]
        return "\n".join([*lines, *([f"  go on: {' · '.join(self.more)}"] if self.more else [])])

    def html(self) -> str:
        """As a fragment of HTML."""
        parts = [f"<strong>{_html(self.title)}</strong>"]
        if self.bar is not None:
            parts.append(bar_html(self.title, *self.bar))
        if facts := "".join(
            f'<tr><th scope="row"{_CELL}>{_html(name)}</th><td{_CELL}>{_html(value)}</td></tr>'
            for name, value in self._facts
        ):
            parts.append(f"<table><tbody>{facts}</tbody></table>")
        if self.rows:
            head = "".join(f'<th scope="col"{_CELL}>{_html(title)}</th>' for title in self.titles)
            body = "".join(f"<tr>{''.join(f'<td{_CELL}>{_html(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        if self.more:
            parts.append("<p>Go on: " + " · ".join(f"<code>{_html(code)}</code>" for code in self.more) + "</p>")
        return f"<div>{''.join(parts)}</div>"

    @property
    def _facts(self) -> list[tuple[str, object]]:
        return [(name, value) for name, value in self.facts if value not in ("", None)]


# --- a card for each thing ---------------------------------------------------------------------------


def grid(connection: Connection) -> Bundle:
    """A grid: its nodes and newest jobs."""
    url = connection.address.url
    more = ("grid.map(f, items)", "grid.run(program, …)", "grid.job(name)", "grid.nodes()")
    found, why = _asked(lambda: _grid_asked(connection))
    if found is None:
        return Card(f"Grid at {url}", (("hub", connection.link.problem or why),), more=more).bundle()
    nodes, jobs = found
    online = [node for node in nodes if node["online"]]
    cores = sum(node["milli_cpus"] for node in online) / 1000
    facts = (
        ("nodes", f"{len(online):,} of {len(nodes):,} online, {cores:,.4g} cores" if nodes else "none yet"),
        ("jobs", "" if jobs else "none yet"),
    )
    rows = tuple((each["name"] or each["id"], *_row(each)) for each in jobs)
    return Card(f"Grid at {url}", facts, None, ("newest jobs", "state", "done", "errors"), rows, more).bundle()


async def _grid_asked(connection: Connection) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    nodes, jobs = await asyncio.gather(
        connection.rest.get("/v1/nodes", limit=1000), connection.rest.get("/v1/jobs", limit=JOBS_SHOWN)
    )
    return nodes["nodes"], jobs["jobs"]


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    counts = job["counts"]
    state = f"{job['state']}, paused" if job["paused"] and job["state"] in JOB_RUNS else job["state"]
    return state, saying.of(counts["units_done"], counts["units"]), counts["errors"] + counts["abandoned"] or ""


def job(connection: Connection, job: JobLink) -> Bundle:
    """A job: how far it is, what went wrong."""
    name = job.info.name or job.id
    found, _ = _asked(lambda: _job_asked(connection, job))
    function, errors = found or ("", [])
    rows = tuple((each["unit"] if each["unit"] >= 0 else f"task {each['ordinal']}", each["error"]) for each in errors)
    more = ("job.result()", "job.errors()") if job.ended else ("job.result()", "job.why()", f"grid.job({name!r})")
    titles = ("call" if job.info.spec.runtime in UNSANDBOXED else "unit", "the first errors")
    facts = (("function", function), *_facts_of(job))
    return Card(f"Job {name}", facts, _bar_of(job.info.counts), titles, rows, more).bundle()


async def _job_asked(connection: Connection, job: JobLink) -> tuple[str, list[dict[str, Any]]]:
    """(the function it calls, the first that went wrong)."""
    name = await function_name(connection.rest, job.info.spec.runtime, job.info.spec.program)
    if not (job.info.counts.errors or job.info.counts.abandoned):
        return name, []
    page = await connection.rest.get(f"/v1/jobs/{job.id}/errors", limit=ERRORS_SHOWN)
    return name, page["errors"][:ERRORS_SHOWN]


def mapped(job: JobLink) -> Bundle:
    """A map whose results are being taken."""
    more = ("for result in mapped: …", "mapped.close()")
    return Card(f"Map {job.id}", _facts_of(job), _bar_of(job.info.counts), more=more).bundle()


def _facts_of(job: JobLink) -> tuple[tuple[str, object], ...]:
    info, counts = job.info, job.info.counts
    left = None if job.ended else job.pace.seconds_left(info)
    return (
        ("state", f"{info.state}, paused" if info.paused and not job.ended else info.state),
        ("because", info.reason),
        ("done", saying.of(counts.units_done, counts.units)),
        ("now", "" if job.ended else saying.doing(counts)),
        ("failed", saying.failed(counts) if job.ended else ""),
        ("left", f"about {saying.span(left)}" if left else ""),
        ("hub", "" if job.ended or job.failure is None else job.failure.message),
    )


def _bar_of(counts: Counts) -> tuple[int, int] | None:
    return (counts.units_done, counts.units) if counts.units else None


def function(fn: Callable[..., Any], options: Options) -> Bundle:
    """A function that can run on a grid."""
    name = getattr(fn, "__name__", type(fn).__name__)
    try:
        signature = str(inspect.signature(fn))
    except (TypeError, ValueError):
        signature = "(…)"
    usual = Options()
    chosen = [
        f"{field}={getattr(options, field)!r}"
        for field in options.__struct_fields__
        if getattr(options, field) != getattr(usual, field)
    ]
    about = (inspect.getdoc(fn) or "").strip().partition("\n")[0]
    more = (f"{name}(…) here", f"{name}.remote(…)", f"{name}.submit(…)", f"{name}.map(items)")
    return Card(f"Function {name}{signature}", (("about", about), ("options", ", ".join(chosen))), more=more).bundle()


# --- what they are made of ---------------------------------------------------------------------------


def _asked(work: Callable[[], Awaitable[Any]]) -> tuple[Any, str]:
    """(what the hub said, "") or (None, why it said nothing), in a moment."""
    import httpx  # noqa: F401 — the first time this takes a while, which is not the hub's fault

    async def timed() -> Any:
        async with asyncio.timeout(ASK_SECONDS):
            return await work()

    try:
        return background.run(timed()), ""
    except CrowdgridError as error:
        return None, error.message
    except (TimeoutError, CancelledError):
        return None, f"It did not answer within {ASK_SECONDS:g} s."
    except RuntimeError:
        return None, "This connection was closed."


def _said(value: object) -> str:
    return f"{value:,}" if type(value) is int else saying.one_line(str(value), CELL_CHARS)


def _html(value: object) -> str:
    return escape(_said(value))


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of text, each column as wide as it has to be."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def bar_html(title: str, done: int, total: int | None) -> str:
    """A bar that says so much of so much also where it is not seen."""
    how_far = f' value="{done}" max="{max(total, 1)}"' if total is not None else ""
    return f'<progress aria-label="{_html(title)}"{how_far}>{_html(saying.of(done, total))}</progress>'


class NotebookBar:
    """Progress in the cell that waits; see `progress.Display`."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last: Bundle = {}
        self._handle: Any = None

    def draw(self, now: Standing) -> None:
        bundle = self._bundle(now)
        if self._handle is None:
            from IPython.display import display

            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        elif bundle != self._last:
            self._handle.update(bundle, raw=True)
        self._last = bundle

    def close(self, now: Standing) -> None:
        self.draw(now)

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _bundle(self, now: Standing) -> Bundle:
        said = " · ".join(part for part in (saying.of(now.done, now.total), now.said) if part)
        text = f"{self._title}: {said}"
        html = f"<div>{_html(self._title)} {bar_html(self._title, now.done, now.total)} {_html(said)}</div>"
        return {"text/plain": text, "text/html": html}
