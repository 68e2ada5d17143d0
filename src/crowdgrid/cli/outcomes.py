"""What the calls of a Python function came to, on its way to a file, a pipe or a terminal: values as lines of JSON.

A failed call is a line of text for people on standard error, the first few with their traceback; in a file, or in the
output in its place, it is JSON for programs: `{"index": …, "error": …, "type": …, "traceback": …}`. What the call
raised is shown as the node told it; no exception is made of it, so nothing of a stranger's is looked up or unpickled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self, TextIO

import click

from crowdgrid import limits
from crowdgrid.cli import jsonvalues
from crowdgrid.cli.showing import printable
from crowdgrid.client import background
from crowdgrid.client.arrivals import Arrivals
from crowdgrid.client.outcomes import Outcomes
from crowdgrid.client.progress import SCREEN
from crowdgrid.client.rows import answers_of, failure_of, runs_of
from crowdgrid.client.saying import one_line
from crowdgrid.errors import BadInput, CannotTravel, CrowdgridError
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.failures import unpack_failure

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection
    from crowdgrid.client.joblink import JobLink

TOLD: Final = 3  # failed calls that are told in full on standard error


class Failed(NamedTuple):
    """A call that has no value."""

    error: str
    type: str = ""
    traceback: str = ""
    output: str = ""

    def record(self, index: int) -> dict[str, Any]:
        """For programs."""
        told = {"index": index, **self._asdict()}
        return {name: value for name, value in told.items() if value != ""}


class Taker:
    """Takes the outcomes of a job's calls from the link.

    Args:
        outcomes: how they are read, and who must have signed them.
        ordered: they come in the order of the input.
    """

    def __init__(self, connection: Connection, job: JobLink, outcomes: Outcomes, *, ordered: bool) -> None:
        async def read() -> Arrivals:
            return Arrivals(job, connection.rest.blob, ordered=ordered, signed=outcomes.signed)

        self._arrivals = background.run(read())
        self._outcomes = outcomes

    def take(self) -> list[tuple[int, Any, Failed | None]]:
        """(index, value, how it failed) of calls that are done; none when there are no more. Raises CrowdgridError."""
        return background.run(self._take())

    async def _take(self) -> list[tuple[int, Any, Failed | None]]:
        found: list[tuple[int, Any, Failed | None]] = []
        for task, payload in await self._arrivals.take():
            refused = await self._outcomes.check(task, payload) if self._outcomes.signed else None
            found += self._each(task, payload, refused)
        return found

    def close(self) -> None:
        """Take no more."""
        background.loop().call_soon_threadsafe(self._arrivals.close)

    def _each(
        self, task: m.ResultRow, payload: bytes, refused: CrowdgridError | None
    ) -> Iterator[tuple[int, Any, Failed | None]]:
        why = Failed(refused.message, type(refused).__name__) if refused is not None else None
        if why is None and (said := failure_of(task)):
            why = Failed(said)
        if why is not None:
            yield from ((index, None, why) for index in runs_of(task))
            return
        for index, answer in enumerate(answers_of(task, payload), task.start):
            if not answer.ok:
                yield index, None, _failed(answer.error, answer.data)
                continue
            try:
                yield index, self._outcomes.codec.value(answer.data), None
            except Exception as error:  # noqa: BLE001 — a pickle of a trusted node raises whatever it likes
                said = one_line(f"{type(error).__name__}: {error}", limits.ERROR_CHARS)
                yield index, None, Failed(f"What it returned cannot be read here: {said}", type(error).__name__)


def _failed(error: str, data: bytes) -> Failed:
    """What a call raised, if its worker lived to tell."""
    try:
        failure = unpack_failure(data) if data else None
    except BadInput:
        failure = None
    if failure is None:
        return Failed(error)
    return Failed(error, failure.type, failure.traceback, failure.output)


class Writer:
    """Writes outcomes as they come, and counts what failed.

    Args:
        out: takes the lines of values. errors: takes failed calls as JSON; None: people are told.
        indexed: each line says which call it is, because they come in no order.
        keep_errors: failed calls stand among the values.
        document: the lines are the elements of one JSON list; to be used in a `with` block.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        errors: IO[str] | None = None,
        indexed: bool = False,
        keep_errors: bool = False,
        document: bool = False,
    ) -> None:
        self.failed = 0
        self.written = 0
        self._out = out
        self._errors = errors
        self._keep_errors = keep_errors
        self._indexed = indexed
        self._document = document
        self._lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._document and kind is None:
            self._out.write("\n]\n" if self._lines else "[]\n")
            self._out.flush()

    @property
    def records(self) -> bool:
        """Whether failed calls are written down for programs."""
        return self._keep_errors or self._errors is not None

    def _line(self, line: str) -> None:
        if self._document:
            self._out.write(f"{',' if self._lines else '['}\n  {line}")
        else:
            self._out.write(line + "\n")
        self._lines += 1

    def write(self, outcomes: list[tuple[int, Any, Failed | None]]) -> None:
        """Write these, and see to it that they arrive."""
        with SCREEN.aside():
            try:
                for index, value, failed in outcomes:
                    self._one(index, value, failed)
                self._out.flush()
                if self._errors is not None:
                    self._errors.flush()
            except BrokenPipeError:
                raise  # nobody reads any more, which is no error
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise CrowdgridError(f"The results cannot be written: {why}.") from None

    def _one(self, index: int, value: Any, failed: Failed | None) -> None:
        if failed is None:
            try:
                line = jsonvalues.text({"index": index, "value": value} if self._indexed else value)
            except CannotTravel as error:
                failed = Failed(f"The value of call {index:,} {error.message}.", "CannotTravel")
            else:
                self._line(line)
                self.written += 1
                return
        self.failed += 1
        if self._keep_errors:
            self._line(jsonvalues.text(failed.record(index)))
        elif self._errors is not None:
            self._errors.write(jsonvalues.text(failed.record(index)) + "\n")
        elif self.failed <= TOLD:
            self._tell(index, failed)

    def _tell(self, index: int, failed: Failed) -> None:
        click.secho(f"Call {index:,} failed: {printable(failed.error)}", fg="red", err=True)
        for line in printable(failed.traceback).splitlines():
            click.echo(f"    {line}", err=True)
        if failed.output:
            click.echo("  It had printed:", err=True)
            for line in printable(failed.output).splitlines():
                click.echo(f"    {line}", err=True)
        if self.failed == TOLD:
            click.echo("What fails from here on is counted only.", err=True)


def standard_output() -> TextIO:
    """Standard output for JSON, which is UTF-8 whatever the locale says."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout
