"""A job as the program that submitted it, or finds it again, has it in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from crowdgrid.client import background
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.rows import Row, RowStream
from crowdgrid.core.model import Counts
from crowdgrid.errors import CrowdgridError, JobFailed, TimedOut

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection

Progress: TypeAlias = bool | Callable[[Counts], None]
_ANSWERED = ("completed", "final")
_ERRORS_SHOWN = 3
STDERR_CHARS = 200


class Job:
    """One job. Made by `Grid.run` and `Grid.job`; it goes on without you and can be found again by name or id.

    Attributes:
        id: its public id.
        link: the job on the link, for what this face does not offer; to be used on crowdgrid's loop only.
    """

    def __init__(self, connection: Connection, link: JobLink, feed: Future[None] | None = None) -> None:
        self._connection = connection
        self.link = link
        self._feed = feed
        self.id = link.id

    def __repr__(self) -> str:
        counts = self.counts
        return f"<Job {self.name or self.id} {self.state}: {counts.units_done:,} of {counts.units:,} units>"

    # --- what is known of it ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name, "" when it was given none."""
        return self.link.info.name

    @property
    def state(self) -> str:
        """validating, open, sealed, completed, final, or invalid, failed, cancelled; or paused."""
        info = self.link.info
        return "paused" if info.paused and not self.link.ended else info.state

    @property
    def reason(self) -> str:
        """Why it is invalid, failed or cancelled."""
        return self.link.info.reason

    @property
    def counts(self) -> Counts:
        """Its counters as the hub told them last (at most half a second ago)."""
        return self.link.info.counts

    def why(self) -> dict[str, Any]:
        """Why it is not further: `summary` and `reasons`."""
        found: dict[str, Any] = self._rest("GET", f"/v1/why/{self.id}")
        return found

    def errors(self, limit: int = 100) -> list[dict[str, Any]]:
        """The first runs that failed: `unit` (index in the input, −1 for a whole task), `error`, `node`."""
        found: dict[str, Any] = self._rest("GET", f"/v1/jobs/{self.id}/errors", limit=limit)
        return list(found["errors"])

    def tasks(self, state: str = "") -> list[dict[str, Any]]:
        """Its tasks, or those in one state, as the REST interface shows them: all pages of it."""
        found: list[dict[str, Any]] = []
        after: int | None = -1
        while after is not None:
            page = self._rest("GET", f"/v1/jobs/{self.id}/tasks", state=state or None, after=after, limit=1000)
            found += page["tasks"]
            after = page.get("next")
        return found

    def _rest(self, method: str, path: str, **query: Any) -> Any:
        rest = self._connection.rest
        return background.run(rest.get(path, **query) if method == "GET" else rest.post(path))

    # --- steering --------------------------------------------------------------------------------

    def cancel(self, reason: str = "") -> None:
        """End it for good; what runs is withdrawn."""
        background.run(self._connection.patiently(self.link.cancel(reason)))

    def pause(self) -> None:
        """Start nothing more of it; what runs goes on."""
        self._rest("POST", f"/v1/jobs/{self.id}/pause")

    def resume(self) -> None:
        """Undo `pause`."""
        self._rest("POST", f"/v1/jobs/{self.id}/resume")

    def retry(self) -> None:
        """Run its failed and abandoned tasks again, also when it has ended. Raises Conflict when it was cancelled."""
        self._rest("POST", f"/v1/jobs/{self.id}/retry")

    @property
    def being_fed(self) -> bool:
        """Whether its input is still being read, here."""
        return self._feed is not None and not self._feed.done()

    def fed(self) -> None:
        """Wait until its input is read to the end and the job goes on by itself. Raises what the input raised."""
        if self._feed is not None:
            background.run(self._until_fed(self._feed))

    async def _until_fed(self, feed: Future[None]) -> None:
        await asyncio.wrap_future(feed)

    # --- waiting ---------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None, *, progress: Progress = False) -> str:
        """Wait until it has ended; returns its state.

        Args:
            timeout: seconds, None for ever.
            progress: True shows a bar on a terminal; a function is called with the counters as they move, on
                crowdgrid's thread.

        Raises:
            TimedOut: it goes on, and so can you.
        """
        from crowdgrid.client.progress import shown

        with shown(self, progress) as watch:
            return background.run(self._ended(timeout, watch))

    def result(self, timeout: float | None = None, *, partial: bool = False, progress: Progress = False) -> Any:
        """Wait for the answer: what the reducer makes of all outputs.

        `collect` gives a list of bytes in the order of the input, `concatenate` bytes, `first` bytes or None, `sum`,
        `minimum`, `maximum` and `count` numbers, `merge-counters` a dictionary.

        Args:
            timeout: seconds, None for ever. progress: as for `wait`.
            partial: leave out what failed instead of raising (`errors()` tells what that was).

        Raises:
            JobFailed: it ended without an answer, or some runs failed and `partial` is not set.
            TimedOut: it goes on, and so can you.
        """
        from crowdgrid.client.progress import shown

        with shown(self, progress) as watch:
            return background.run(self._result(timeout, partial, watch))

    def results(self, *, ordered: bool = True, timeout: float | None = None) -> Iterator[Row]:
        """Every run's output as it settles, in the order of the input or as they are completed.

        Failed runs come too, with `ok` False. Stop iterating when you have enough.

        Args:
            timeout: seconds to wait for the next one, None for ever.

        Raises:
            JobFailed: it ended without all its results (after those it has).
            TimedOut: nothing came within `timeout`.
        """
        stream = background.run(self._stream(ordered))
        try:
            while rows := background.run(self._timed(stream.take(), timeout, "No further result came")):
                yield from rows
        finally:
            background.loop().call_soon_threadsafe(stream.close)
        background.run(self._check_ended())

    async def _stream(self, ordered: bool) -> RowStream:
        return RowStream(self.link, self._connection.rest.blob, ordered=ordered)

    async def _timed(self, work: Any, timeout: float | None, what: str) -> Any:
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            counts = self.counts
            problem = self._connection.link.problem
            raise TimedOut(
                f"{what} within {timeout:g} s: {counts.units_done:,} of {counts.units:,} units are done.",
                hint=problem or f"The job goes on; `crowdgrid why {self.name or self.id}` tells what it waits for.",
            ) from None

    async def _ended(self, timeout: float | None, watch: Callable[[Counts], None] | None) -> str:
        await self._timed(self._until_ended(watch, fed=False), timeout, "The job did not end")
        return self.link.info.state

    async def _until_ended(self, watch: Callable[[Counts], None] | None, *, fed: bool = True) -> None:
        """`fed`: raise what its input raised as soon as it did."""
        while True:
            if watch is not None:
                watch(self.link.info.counts)
            if fed:
                self._check_feed()
            if self.link.failure is not None:
                raise self.link.failure
            if self.link.ended:
                return
            await self.link.changed()

    def _check_feed(self) -> None:
        """Raises what its input raised: the caller's own iterator, or the hub's refusal of an append."""
        if self._feed is not None and self._feed.done() and not self._feed.cancelled():
            self._feed.result()

    async def _result(self, timeout: float | None, partial: bool, watch: Callable[[Counts], None] | None) -> Any:
        return await self._timed(self._answer(partial, watch), timeout, "The answer was not ready")

    async def _answer(self, partial: bool, watch: Callable[[Counts], None] | None) -> Any:
        collects = self.link.info.spec.reduce == "collect"
        stream = await self._stream(ordered=True) if collects else None
        gathered = asyncio.ensure_future(self._gather(stream)) if stream is not None else None
        try:
            await self._until_ended(watch)
            await self._check_ended()
            counts = self.counts
            if (counts.errors or counts.abandoned) and not partial:
                raise await self._failed(f"{counts.errors + counts.abandoned:,} of {counts.units:,} units failed")
            if gathered is not None:
                return await self._all_of(await gathered, partial)
        finally:
            if stream is not None and gathered is not None:
                gathered.cancel()
                stream.close()
        answer = await self._connection.rest.get(f"/v1/jobs/{self.id}/answer")
        if answer["failed"] and not partial:  # an output too large to be looked at before it was reduced
            raise await self._failed(f"{answer['failed']:,} of {counts.units:,} units failed")
        return _value(answer, self.link.info.spec.reduce)

    async def _gather(self, stream: RowStream) -> list[Row]:
        found: list[Row] = []
        while rows := await stream.take():
            found += rows
        return found

    async def _all_of(self, rows: list[Row], partial: bool) -> list[bytes]:
        """Every run's output; leaving out a failed one is for the caller to decide, whatever the counters say."""
        outputs = [row.data for row in rows if row.ok]
        if len(outputs) < len(rows) and not partial:
            raise await self._failed(f"{len(rows) - len(outputs):,} of {self.counts.units:,} units failed")
        return outputs

    async def _check_ended(self) -> None:
        """Raises JobFailed unless the job has its answers."""
        if self._feed is not None:
            await asyncio.wrap_future(self._feed)
        info = self.link.info
        if info.state not in _ANSWERED:
            raise await self._failed(info.reason.rstrip(".") or f"it is {info.state}")

    async def _failed(self, why: str) -> JobFailed:
        """The error with the first things that went wrong, so that nobody has to look for them."""
        label = f"The job {self.name!r}" if self.name else "The job"
        try:
            found = await self._connection.rest.get(f"/v1/jobs/{self.id}/errors", limit=_ERRORS_SHOWN)
            errors = [_error_line(error) for error in found["errors"][:_ERRORS_SHOWN]]
        except CrowdgridError:
            errors = []  # the sentence above is true without them
        hint = "job.errors() lists all of them; result(partial=True) leaves them out." if errors else ""
        return JobFailed("\n  ".join([f"{label} has no answer: {why}.", *errors]), hint=hint)


def _error_line(error: dict[str, Any]) -> str:
    where = f"unit {error['unit']:,}" if error["unit"] >= 0 else f"task {error['ordinal']:,}"
    node = f" on node {error['node']}" if error.get("node") else ""
    said = error.get("stderr", "").strip().splitlines()
    return f"{where}{node}: {error['error']}" + (f" It said: {said[-1][:STDERR_CHARS]}" if said else "")


def _value(answer: dict[str, Any], reduce: str) -> Any:
    """The reducer's value as Python has it: JSON cannot say bytes."""
    import base64

    value = answer["value"]
    if reduce in {"concatenate", "first"} and isinstance(value, dict):
        return value["text"].encode() if "text" in value else base64.b64decode(value["base64"])
    return value
