"""What can be waited for of one job: the core under `Job` and `AsyncJob`. Everything runs on crowdgrid's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from crowdgrid.client.harvest import Harvest, all_of, codec_of, harvested
from crowdgrid.client.joblink import JobLink
from crowdgrid.client.rows import Row, RowStream
from crowdgrid.core.model import Counts
from crowdgrid.errors import CrowdgridError, JobFailed, TimedOut

if TYPE_CHECKING:
    from crowdgrid.client.grid import Connection

ANSWERED: Final = ("completed", "final")
ERRORS_SHOWN: Final = 3
STDERR_CHARS: Final = 200


class JobCore:
    """See the module.

    Args:
        link: the job in hand. feed: its input on its way, when it is read here.
    """

    def __init__(self, connection: Connection, link: JobLink, feed: Future[None] | None) -> None:
        self.link = link
        self._connection = connection
        self._feed = feed

    async def harvest(self, *, ordered: bool, with_inputs: bool = False) -> Harvest:
        """What its runs come to. Raises NotTrusted."""
        return await harvested(self._connection, self.link, ordered=ordered, with_inputs=with_inputs)

    async def stream(self, *, ordered: bool) -> RowStream:
        """The rows of its runs."""
        return RowStream(self.link, self._connection.rest.blob, ordered=ordered)

    async def timed(self, work: Any, timeout: float | None, what: str) -> Any:
        """Wait for `work`. Raises TimedOut with `what` did not happen."""
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            counts = self.link.info.counts
            problem = self._connection.link.problem
            raise TimedOut(
                f"{what} within {timeout:g} s: {counts.units_done:,} of {counts.units:,} units are done.",
                hint=problem
                or f"The job goes on; `crowdgrid why {self._name or self.link.id}` tells what it waits for.",
            ) from None

    async def ended(self, timeout: float | None, watch: Callable[[Counts], None] | None = None) -> str:
        """See `Job.wait`; `watch` is called with the counters as they move."""
        await self.timed(self._until_ended(watch, fed=False), timeout, "The job did not end")
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

    async def answer(
        self, timeout: float | None, *, partial: bool = False, watch: Callable[[Counts], None] | None = None
    ) -> Any:
        """See `Job.result`."""
        return await self.timed(self._answer(partial, watch), timeout, "The answer was not ready")

    async def _answer(self, partial: bool, watch: Callable[[Counts], None] | None) -> Any:
        if codec_of(self.link.info.spec.runtime) is not None:
            return await self._values(partial, watch)
        collects = self.link.info.spec.reduce == "collect"
        stream = await self.stream(ordered=True) if collects else None
        gathered = asyncio.ensure_future(self._gather(stream)) if stream is not None else None
        try:
            await self._until_ended(watch)
            await self.check_ended()
            counts = self.link.info.counts
            if (counts.errors or counts.abandoned) and not partial:
                raise await self._failed(f"{counts.errors + counts.abandoned:,} of {counts.units:,} units failed")
            if gathered is not None:
                return await self._all_of(await gathered, partial)
        finally:
            if stream is not None and gathered is not None:
                gathered.cancel()
                stream.close()
        answer = await self._connection.rest.get(f"/v1/jobs/{self.link.id}/answer")
        if answer["failed"] and not partial:  # an output too large to be looked at before it was reduced
            raise await self._failed(f"{answer['failed']:,} of {counts.units:,} units failed")
        return _value(answer, self.link.info.spec.reduce)

    async def _values(self, partial: bool, watch: Callable[[Counts], None] | None) -> list[Any]:
        harvest = await self.harvest(ordered=True)
        gathered = asyncio.ensure_future(all_of(harvest, partial=partial, called=self._called))
        try:
            await self._until_ended(watch)
            await self.check_ended()
            return await gathered
        finally:
            gathered.cancel()
            harvest.close()

    @property
    def _called(self) -> str:
        return f"The job {self._name!r}" if self._name else "The job"

    @property
    def _name(self) -> str:
        return self.link.info.name

    async def _gather(self, stream: RowStream) -> list[Row]:
        found: list[Row] = []
        while rows := await stream.take():
            found += rows
        return found

    async def _all_of(self, rows: list[Row], partial: bool) -> list[bytes]:
        """Every run's output; leaving out a failed one is for the caller to decide, whatever the counters say."""
        outputs = [row.data for row in rows if row.ok]
        if len(outputs) < len(rows) and not partial:
            raise await self._failed(f"{len(rows) - len(outputs):,} of {self.link.info.counts.units:,} units failed")
        return outputs

    async def check_ended(self) -> None:
        """Raises JobFailed unless the job has its answers."""
        if self._feed is not None:
            await asyncio.wrap_future(self._feed)
        info = self.link.info
        if info.state not in ANSWERED:
            raise await self._failed(info.reason.rstrip(".") or f"it is {info.state}")

    async def _failed(self, why: str) -> JobFailed:
        """The error with the first things that went wrong, so that nobody has to look for them."""
        try:
            found = await self._connection.rest.get(f"/v1/jobs/{self.link.id}/errors", limit=ERRORS_SHOWN)
            errors = [_error_line(error) for error in found["errors"][:ERRORS_SHOWN]]
        except CrowdgridError:
            errors = []  # the sentence above is true without them
        hint = "job.errors() lists all of them; result(partial=True) leaves them out." if errors else ""
        return JobFailed("\n  ".join([f"{self._called} has no answer: {why}.", *errors]), hint=hint)


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
