"""One `crowdgrid map` at work: its input on its way to the grid, its results on their way out, and Ctrl-C."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import click

from crowdgrid.cli import endings
from crowdgrid.cli.calls import Call, Calls
from crowdgrid.cli.outcomes import Taker, Writer
from crowdgrid.client import background
from crowdgrid.client.codec import Codec
from crowdgrid.client.jobcore import ANSWERED
from crowdgrid.client.mapping import CallItems
from crowdgrid.client.progress import showing
from crowdgrid.errors import BadInput, CannotTravel, CrowdgridError, JobFailed

if TYPE_CHECKING:
    from crowdgrid.client.functions import Function
    from crowdgrid.client.grid import Grid

CANCEL_SECONDS: Final = 5.0
NOBODY: Final = 1 << 62


class Mapping:
    """See the module. Opens the job.

    Args:
        ordered: results come in the order of the input.
        detached: nobody takes them here.
        name, key: of the job.
    """

    def __init__(
        self,
        grid: Grid,
        function: Function[..., Any],
        calls: Calls,
        *,
        name: str,
        key: str,
        ordered: bool,
        detached: bool,
    ) -> None:
        connection = grid.connection
        fn, options = function.__wrapped__, function._options
        program = connection.calling.program(fn, options.codec)
        self.title = name or getattr(fn, "__name__", "map")
        self._outcomes = connection.calling.outcomes(program)
        self._total = calls.total
        # Where nobody takes results, input is not held up for those that are not taken.
        self._taken = NOBODY if detached else 0
        self._kept, self._key = bool(name), key
        items = CallItems(_items(_checked(fn, calls.each), program.codec), options.piece)
        request = options.map_request(program.codec, name=name, key=key, kept=bool(name or key or detached))
        link, feed = background.run(connection.open(program.content, request, items, taken=lambda: self._taken))
        self.job = connection.job(link, feed)
        self._connection = connection
        self._ordered = ordered

    # --- without waiting -------------------------------------------------------------------------

    def detach(self) -> int:
        """Read the input to its end, since nobody else could go on with it; the exit code."""
        try:
            with showing(f"{self.title}, its input", None, self.job.link):
                self._fed()
        except KeyboardInterrupt:
            return self._interrupted()
        click.echo(self.job.id)
        click.echo(f"Its results: crowdgrid jobs results {self.job.name or self.job.id} --wait", err=True)
        return endings.OK

    def _fed(self) -> None:
        """Raises what the input raised: in its own words, if they are ours."""
        try:
            self.job.fed()
        except JobFailed as error:
            raise (error.__cause__ if isinstance(error.__cause__, CrowdgridError) else error) from None

    # --- waiting ---------------------------------------------------------------------------------

    def run(self, writer: Writer, *, partial: bool) -> int:
        """Write what comes to the end; the exit code."""
        taker = Taker(self._connection, self.job.link, self._outcomes, ordered=self._ordered)
        try:
            with showing(self.title, None, self.job.link, total=self._total) as moved:
                while outcomes := taker.take():
                    writer.write(outcomes)
                    self._taken += len(outcomes)
                    moved(self._taken)
                    background.loop().call_soon_threadsafe(self.job.link.tell)
            self._check_ended(writer)
        except KeyboardInterrupt:
            return self._interrupted()
        except BaseException:
            self._give_up()
            raise
        finally:
            taker.close()
        if not writer.failed or partial:
            return endings.OK
        raise JobFailed(
            f"{writer.failed:,} of {writer.failed + writer.written:,} calls failed.", hint=self._hint(writer)
        )

    def _check_ended(self, writer: Writer) -> None:
        self._fed()
        info = self.job.link.info
        if info.state not in ANSWERED:
            reason = info.reason.rstrip(".") or f"it is {info.state}"
            failed = f" Of {writer.failed + writer.written:,} calls {writer.failed:,} failed." if writer.failed else ""
            raise JobFailed(f"The map ended early: {reason}.{failed}", hint=self._hint(writer) if writer.failed else "")

    def _hint(self, writer: Writer) -> str:
        if self._kept:
            name = self.job.name
            return f"All of them: crowdgrid jobs logs {name} --errors. Again: crowdgrid jobs retry {name}"
        return "" if writer.records else "--errors-to FILE writes all of them down, --keep-errors leaves none out."

    def _give_up(self) -> None:
        """What nobody takes need not be computed, unless it has a name to be found by."""
        if not (self.job.link.ended or self._key or (self._kept and not self.job.being_fed)):
            with suppress(CrowdgridError, TimeoutError):
                self._cancel("Nobody takes its results any more.")

    def _interrupted(self) -> int:
        """Ctrl-C: a job that can be found again and needs nobody here goes on."""
        called = self.job.name
        if self.job.link.ended:
            pass
        elif self._key:
            click.echo("\nThe same command goes on with it, if it comes within some minutes.", err=True)
            click.echo(f"End it with:  crowdgrid jobs cancel {self.job.id}", err=True)
        elif self._kept and not self.job.being_fed:
            click.echo(f"\nThe job goes on. See it with:  crowdgrid jobs show {called}", err=True)
            click.echo(f"Its results:                   crowdgrid jobs results {called} --wait", err=True)
            click.echo(f"End it with:                   crowdgrid jobs cancel {called}", err=True)
        else:
            why = "Its input was not read to the end, so the" if self.job.being_fed else "The"
            click.echo(f"\n{why} job is cancelled.", err=True)
            try:
                self._cancel("Interrupted with Ctrl-C.")
            except (CrowdgridError, TimeoutError):
                click.echo(f"That did not reach the hub. Try: crowdgrid jobs cancel {self.job.id}", err=True)
        return endings.INTERRUPTED

    def _cancel(self, reason: str) -> None:
        async def soon() -> None:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self.job.link.cancel(reason)

        background.run(soon())


# --- the input ---------------------------------------------------------------------------------------


def _items(calls: Iterator[Call], codec: Codec) -> Iterator[bytes]:
    for index, (args, kwargs) in enumerate(calls):
        try:
            yield codec.call(args, kwargs)
        except CannotTravel as error:
            raise CannotTravel(f"Call {index:,}: {error.message}", hint=error.hint) from None


def _checked(fn: Any, calls: Iterator[Call]) -> Iterator[Call]:
    """The calls, after a look at whether the first one fits the function: then none would."""
    first = next(calls, None)
    if first is None:
        return iter(())
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return chain((first,), calls)
    args, kwargs = first
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__name__", "The function")
        raise BadInput(
            f"{name}{signature} cannot be called with the first line: {error}.",
            hint="--star takes a list of arguments, --kwargs named ones, --field fields of an object, --set constants.",
        ) from None
    return chain((first,), calls)
